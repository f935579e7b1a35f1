"""Holding a lease for the length of a `with`: a thread renews it, and says when it must no longer be relied on."""

import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from poolguard.client.candidate import RELEASE_SECONDS, Candidate, attempt, runs_for
from poolguard.client.term import Term, attempt_seconds, boottime, renew_after, retry_after
from poolguard.core.errors import LeaseLost, LeaseUnavailable, PoolguardError

if TYPE_CHECKING:
    from poolguard.client.client import LeaseClient


def default_holder() -> str:
    """Host (in a pod: its name) and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Holding:
    """`with client.hold("scheduler") as held:` waits until the lease is ours and gives it back at the end.

    In between ask `held.trusted`, or `held.check()`, before every piece of work, and send `held.token` along with it:
    nothing can interrupt a thread that works on. Raises TimeoutError if it was not had within *wait_seconds* (None:
    wait for ever), and on entering whatever says that the request itself is wrong.
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
        on_change: Callable[["Holding"], None] | None = None,
        on_trouble: Callable[[PoolguardError], None] | None = None,
    ) -> None:
        self.name: Final = name
        self.holder: Final = holder or default_holder()
        self.ttl_seconds: Final = ttl_seconds
        self.lost: Final = threading.Event()
        """Set once the term must no longer be relied on, at the latest in the moment in which trust runs out."""
        self._client: Final = client.another()
        self._acquire: Final = partial(
            self._client.acquire, name, holder=self.holder, ttl_seconds=ttl_seconds, metadata=metadata, slots=slots
        )
        self._wait_seconds: Final = wait_seconds
        self._slots: Final = slots
        self._on_change: Final = on_change or (lambda _: None)
        self._on_trouble: Final = on_trouble or (lambda _: None)
        """Told of each attempt and each renewal that failed, with why; the latter in the thread that renews."""
        self._leave: Final = threading.Event()
        self._term: Term | None = None
        self._thread: threading.Thread | None = None

    # Before

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Wait until the lease is ours. Raises TimeoutError, InvalidLease, NotAllowed, LeaseUnavailable once left."""
        deadline = None if self._wait_seconds is None else boottime() + self._wait_seconds
        try:
            self._term = self._campaign(deadline)
        except BaseException:
            self._client.close()
            raise
        self._thread = threading.Thread(target=self._keep, name=f"lease {self.name}", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Stop waiting, or renewing, from another thread or a signal handler."""
        self._leave.set()

    def _campaign(self, deadline: float | None) -> Term:
        candidate = Candidate()
        while True:
            outcome = attempt(self._acquire, candidate.request_id)
            pause = candidate.weigh(outcome)
            if pause is None:
                assert isinstance(outcome, Term), "elected without a term"
                return outcome
            if isinstance(outcome, PoolguardError):
                self._on_trouble(outcome)
            left = float("inf") if deadline is None else deadline - boottime()
            if left <= 0:
                raise TimeoutError(f"lease {self.name!r} was not had within {self._wait_seconds:g} s")
            # Of several slots any may become free: there is no one release to wait for.
            runs = runs_for(outcome) if self._slots == 1 else None
            if runs is not None and self._released(min(runs, left)):
                pause = candidate.spread()
            if self._leave.wait(min(pause, left)):
                raise LeaseUnavailable(f"stopped waiting for lease {self.name!r}")

    def _released(self, seconds: float) -> bool:
        try:
            self._client.wait_until_free(self.name, seconds, given_up=self._leave.is_set)
        except PoolguardError:
            return False
        return True

    # Within

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
    def remaining_seconds(self) -> float:
        """For how long it may be relied on; never below 0."""
        return 0.0 if self.lost.is_set() else max(0.0, self.term.remaining_seconds())

    @property
    def trusted(self) -> bool:
        """Whether the lease is ours, now."""
        return not self.lost.is_set() and self.term.trusted

    def check(self) -> None:
        """Raise LeaseLost unless the lease is ours, now."""
        if not self.trusted:
            raise LeaseLost(
                f"lease {self.name!r} is no longer ours",
                holder=None,
                valid_for_ms=0,
                hint="Stop acting as its holder at once.",
            )

    def _keep(self) -> None:
        try:
            self._renew_until_left()
        finally:
            if not self._leave.is_set():
                self.lost.set()
                self._on_change(self)

    def _renew_until_left(self) -> None:
        pause = renew_after(self.ttl_seconds)
        while True:
            # The clock of the wait may stand still while the machine is suspended: what counts is read afterwards.
            if self._leave.wait(max(0.0, min(pause, self.term.remaining_seconds()))):
                return
            remaining = self.term.remaining_seconds()
            if remaining <= 0:
                return
            try:
                self._term = self._client.renew(self.term, timeout=attempt_seconds(remaining))
                pause = renew_after(self.ttl_seconds)
                self._on_change(self)
            except LeaseLost as error:
                self._on_trouble(error)
                return
            except PoolguardError as error:
                self._on_trouble(error)
                pause = retry_after(self.term.remaining_seconds())

    # After

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the lease back, so that the next holder need not wait for its end; what fails is left to time."""
        self._leave.set()
        if self._thread is not None:
            self._thread.join()
        self.lost.set()
        if self._term is not None:
            with suppress(PoolguardError):
                self._client.release(self._term, timeout=RELEASE_SECONDS)
        self._client.close()
