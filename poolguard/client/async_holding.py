"""Holding a lease for the length of an `async with`, whose body is cancelled when the lease is lost."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from poolguard.client.candidate import Candidate
from poolguard.client.holding import default_holder
from poolguard.client.term import Term, attempt_seconds, renew_after, retry_after
from poolguard.core.errors import LeaseLost, PoolguardError

if TYPE_CHECKING:
    from poolguard.client.client import LeaseClient

_RELEASE_SECONDS: Final = 2.0


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
    ) -> None:
        self.name: Final = name
        self.holder: Final = holder or default_holder()
        self.ttl_seconds: Final = ttl_seconds
        self._client: Final = client.another()
        self._wait_seconds: Final = wait_seconds
        self._metadata: Final = metadata
        self._term: Term | None = None
        self._lost = False
        self._body: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._attempting: asyncio.Future[Term | PoolguardError] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._body = asyncio.current_task()
        self._cancelling = self._body.cancelling() if self._body is not None else 0
        try:
            async with asyncio.timeout(self._wait_seconds):
                self._term = await self._campaign()
        except BaseException as error:
            if self._attempting is not None:
                # Its thread goes on: what it may have got, or still gets, must not be held by nobody until its end.
                self._attempting.add_done_callback(self._give_back)
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"lease {self.name!r} was not had within {self._wait_seconds:g} s") from None
            raise
        self._keeper = asyncio.create_task(self._keep(), name=f"lease {self.name}")
        return self

    async def _campaign(self) -> Term:
        candidate = Candidate()
        while True:
            self._attempting = asyncio.ensure_future(asyncio.to_thread(self._attempt, candidate.request_id))
            outcome = await asyncio.shield(self._attempting)
            pause = candidate.weigh(outcome)
            if pause is None:
                assert isinstance(outcome, Term), "elected without a term"
                return outcome
            await asyncio.sleep(pause)

    def _attempt(self, request_id: str) -> Term | PoolguardError:
        try:
            return self._client.acquire(
                self.name,
                holder=self.holder,
                ttl_seconds=self.ttl_seconds,
                request_id=request_id,
                metadata=self._metadata,
            )
        except PoolguardError as error:
            return error

    def _give_back(self, attempt: "asyncio.Future[Term | PoolguardError]") -> None:
        outcome = attempt.result()
        self._term = outcome if isinstance(outcome, Term) else None
        asyncio.get_running_loop().run_in_executor(None, self._release)

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
        pause = renew_after(self.ttl_seconds)
        while True:
            await asyncio.sleep(max(0.0, min(pause, self.term.remaining_seconds())))
            remaining = self.term.remaining_seconds()
            if remaining <= 0:
                break
            try:
                async with asyncio.timeout(remaining):
                    self._term = await asyncio.to_thread(
                        self._client.renew, self.term, timeout=attempt_seconds(remaining)
                    )
                pause = renew_after(self.ttl_seconds)
            except LeaseLost:
                break
            except (PoolguardError, TimeoutError):
                pause = retry_after(self.term.remaining_seconds())
        self._lost = True
        if self._body is not None:
            self._body.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        await asyncio.to_thread(self._release)
        if self._lost and self._body is not None:
            ours_alone = self._body.uncancel() <= self._cancelling
            # Only our own cancellation becomes LeaseLost; one from outside stays what it is.
            if ours_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
                raise LeaseLost(f"lease {self.name!r} was lost", holder=None, valid_for_ms=0) from None

    def _release(self) -> None:
        if self._term is not None:
            with suppress(PoolguardError):
                self._client.release(self._term, timeout=_RELEASE_SECONDS)
        self._client.close()
