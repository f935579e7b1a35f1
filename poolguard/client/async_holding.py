"""Holding a lease for the length of an `async with`, whose body is cancelled when the lease is lost."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from poolguard.client.candidate import RELEASE_SECONDS, Candidate, attempt, runs_for
from poolguard.client.holding import default_holder
from poolguard.client.term import Term, attempt_seconds, renew_after, retry_after
from poolguard.core.errors import LeaseLost, PoolguardError

if TYPE_CHECKING:
    from poolguard.client.client import LeaseClient

T = TypeVar("T")
Outcome = Term | PoolguardError | None


class AsyncHolding:
    """`async with client.hold_async("scheduler") as held:` waits for the lease and gives it back at the end.

    The event loop renews: a loop that hangs loses the lease to one that does not. When trust runs out the body is
    cancelled, and the `async with` raises LeaseLost in its place. Raises TimeoutError if the lease was not had within
    *wait_seconds* (None: wait for ever).
    """

    def __init__(
        self,
        client: "LeaseClient",
        name: str,
        *,
        holder: str | None = None,
        ttl_seconds: float = 15.0,
        wait_seconds: float | None = None,
        metadata: Mapping[str, object] | None = None,
        slots: int = 1,
    ) -> None:
        self.name: Final = name
        self.holder: Final = holder or default_holder()
        self.ttl_seconds: Final = ttl_seconds
        self._client: Final = client.another()
        self._acquire: Final = partial(
            self._client.acquire, name, holder=self.holder, ttl_seconds=ttl_seconds, metadata=metadata, slots=slots
        )
        self._wait_seconds: Final = wait_seconds
        self._slots: Final = slots
        self._term: Term | None = None
        self._lost = False
        self._body: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._leave: Final = threading.Event()
        # A thread of its own: behind others' long requests in a shared pool a renewal would come too late.
        self._thread: Final = ThreadPoolExecutor(1, thread_name_prefix=f"lease {name}")
        self._pending: asyncio.Future[Outcome] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._body = asyncio.current_task()
        self._cancelling = self._body.cancelling() if self._body is not None else 0
        try:
            async with asyncio.timeout(self._wait_seconds):
                self._term = await self._campaign()
        except BaseException as error:
            self._leave.set()
            if self._pending is not None:
                # Its thread goes on: what it may have got, or still gets, must not be held by nobody until its end.
                self._pending.add_done_callback(self._give_back)
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"lease {self.name!r} was not had within {self._wait_seconds:g} s") from None
            raise
        self._keeper = asyncio.create_task(self._keep(), name=f"lease {self.name}")
        return self

    async def _campaign(self) -> Term:
        candidate = Candidate()
        while True:
            outcome = await self._in_thread(partial(attempt, self._acquire), candidate.request_id)
            assert outcome is not None, "an attempt has an outcome"
            pause = candidate.weigh(outcome)
            if pause is None:
                assert isinstance(outcome, Term), "elected without a term"
                return outcome
            # Of several slots any may become free: there is no one release to wait for.
            runs = runs_for(outcome) if self._slots == 1 else None
            if runs is not None and await self._in_thread(self._wait_until_free, runs) is None:
                pause = candidate.spread()
            await asyncio.sleep(pause)

    async def _in_thread(self, call: Callable[[T], Outcome], argument: T) -> Outcome:
        pending = asyncio.get_running_loop().run_in_executor(self._thread, call, argument)
        self._pending = pending
        return await asyncio.shield(pending)

    def _wait_until_free(self, seconds: float) -> PoolguardError | None:
        try:
            self._client.wait_until_free(self.name, seconds, given_up=self._leave.is_set)
        except PoolguardError as error:
            return error
        return None

    def _give_back(self, attempt: "asyncio.Future[Outcome]") -> None:
        outcome = attempt.result()
        self._term = outcome if isinstance(outcome, Term) else None
        self._thread.submit(self._release)
        self._thread.shutdown(wait=False)

    @property
    def term(self) -> Term:
        """The term as it was last confirmed."""
        assert self._term is not None, "not entered"
        return self._term

    @property
    def token(self) -> int:
        """Above that of every earlier holder."""
        return self.term.token

    @property
    def trusted(self) -> bool:
        """Whether the lease is ours, now."""
        return not self._lost and self.term.trusted

    async def _keep(self) -> None:
        left = False
        try:
            await self._renew_until_lost()
        except asyncio.CancelledError:
            left = True
            raise
        finally:
            if not left:
                self._lost = True
                if self._body is not None:
                    self._body.cancel()

    async def _renew_until_lost(self) -> None:
        pause = renew_after(self.ttl_seconds)
        while True:
            await asyncio.sleep(max(0.0, min(pause, self.term.remaining_seconds())))
            remaining = self.term.remaining_seconds()
            if remaining <= 0:
                return
            try:
                async with asyncio.timeout(remaining):
                    renewal = partial(self._client.renew, self.term, timeout=attempt_seconds(remaining))
                    self._term = await asyncio.get_running_loop().run_in_executor(self._thread, renewal)
                pause = renew_after(self.ttl_seconds)
            except LeaseLost:
                return
            except (PoolguardError, TimeoutError):
                pause = retry_after(self.term.remaining_seconds())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        released = self._thread.submit(self._release)
        self._thread.shutdown(wait=False)
        await asyncio.wrap_future(released)
        if self._lost and self._body is not None:
            ours_alone = self._body.uncancel() <= self._cancelling
            # Only our own cancellation becomes LeaseLost; one from outside stays what it is.
            if ours_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
                raise LeaseLost(f"lease {self.name!r} was lost", holder=None, valid_for_ms=0) from None

    def _release(self) -> None:
        if self._term is not None:
            with suppress(PoolguardError):
                self._client.release(self._term, timeout=RELEASE_SECONDS)
        self._client.close()
