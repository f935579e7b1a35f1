"""A lease client that writes down what it asks and is told, and contenders that use it."""

import threading
from collections.abc import Callable
from typing import Final

from poolguard.client import LeaseClient, Term
from poolguard.client.candidate import Candidate, runs_for
from poolguard.client.term import attempt_seconds, renew_after, retry_after
from poolguard.core.errors import LeaseHeld, LeaseLost, LeaseUnknown, PoolguardError
from tests.support.history import (
    Beaten,
    Granted,
    History,
    Lost,
    Released,
    Renewed,
    Shown,
    Stopped,
    Unknown,
    boottime,
)

ATTEMPT_SECONDS: Final = 2.0


class Recorder:
    """Requests of one holder through one poolguard, on a connection of its own."""

    def __init__(self, url: str, holder: str, history: History) -> None:
        self.holder: Final = holder
        self._client: Final = LeaseClient(url, timeout=ATTEMPT_SECONDS)
        self._history: Final = history

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def acquire(self, name: str, *, ttl: float, request_id: str) -> Term:
        """As LeaseClient.acquire."""
        sent_at = boottime()
        try:
            term = self._client.acquire(name, holder=self.holder, ttl_seconds=ttl, request_id=request_id)
        except LeaseHeld as held:
            if not isinstance(held, LeaseLost):
                self._history.note(Beaten(name=name, sent_at=sent_at, answered_at=boottime()))
            raise
        except LeaseUnknown:
            self._history.note(Unknown(name=name, token=None, sent_at=sent_at, answered_at=boottime(), ttl=ttl))
            raise
        self._history.note(
            Granted(
                name=name,
                token=term.token,
                holder=self.holder,
                request_id=request_id,
                new=False,  # the client does not tell 201 from 200
                sent_at=sent_at,
                answered_at=boottime(),
                valid_for=term.trusted_until - sent_at,
                ttl=ttl,
            )
        )
        return term

    def renew(self, term: Term) -> Term:
        """As LeaseClient.renew."""
        sent_at = boottime()
        timeout = attempt_seconds(term.remaining_seconds(sent_at))
        try:
            renewed = self._client.renew(term, timeout=timeout)
        except PoolguardError as error:
            name, token, at = term.name, term.token, boottime()
            if isinstance(error, LeaseLost):
                self._history.note(Lost(name=name, token=token, sent_at=sent_at, answered_at=at))
            elif isinstance(error, LeaseUnknown):
                ttl = term.ttl_seconds
                self._history.note(Unknown(name=name, token=token, sent_at=sent_at, answered_at=at, ttl=ttl))
            raise
        self._history.note(
            Renewed(
                name=term.name,
                token=term.token,
                holder=self.holder,
                sent_at=sent_at,
                answered_at=boottime(),
                valid_for=renewed.trusted_until - sent_at,
                ttl=term.ttl_seconds,
            )
        )
        return renewed

    def release(self, term: Term) -> None:
        """As LeaseClient.release. That the holder stopped is noted whatever is answered."""
        sent_at = boottime()
        self._history.note(Stopped(name=term.name, token=term.token, at=sent_at))
        self._client.release(term)
        self._history.note(Released(name=term.name, token=term.token, sent_at=sent_at, answered_at=boottime()))

    def released(self, name: str, seconds: float, *, given_up: Callable[[], bool]) -> bool:
        """Wait for a release, or for the end of the term; False: it can't be watched."""
        try:
            self._client.wait_until_free(name, seconds, given_up=given_up)
        except PoolguardError:
            return False
        return True

    def leader(self, name: str) -> int | None:
        """The token that /leader shows; None: another answer than 200, or none."""
        sent_at = boottime()
        try:
            shown = self._client.leader(name)
        except PoolguardError:
            return None
        if shown is None:
            return None
        token = int(shown["token"])
        self._history.note(Shown(name=name, token=token, sent_at=sent_at, answered_at=boottime()))
        return token


class Contender(threading.Thread):
    """Stands for one lease, leads, renews, until it is told otherwise. *while_leading* is called between renewals."""

    def __init__(
        self,
        url: str,
        name: str,
        holder: str,
        history: History,
        *,
        ttl: float,
        while_leading: Callable[[Term], None] = lambda _: None,
    ) -> None:
        super().__init__(name=f"{holder} for {name}", daemon=True)
        self.lease: Final = name
        self.holder: Final = holder
        self.term: Term | None = None
        """What it holds, as far as it knows."""
        self._recorder: Final = Recorder(url, holder, history)
        self._history: Final = history
        self._ttl: Final = ttl
        self._while_leading: Final = while_leading
        self._ended: Final = threading.Event()
        self._stir: Final = threading.Event()
        self._wishes: Final[list[str]] = []

    # What a test does to it.

    def resign(self) -> None:
        """Give the lease back, soon, and stand again."""
        self._wish("resign")

    def forget(self) -> None:
        """Die as a leader and come back as a new process: the lease is left to its end."""
        self._wish("forget")

    def end(self) -> None:
        """Stop for good; `join` afterwards."""
        self._ended.set()
        self._stir.set()

    def _wish(self, what: str) -> None:
        self._wishes.append(what)
        self._stir.set()

    # What it does.

    def run(self) -> None:
        """The thread."""
        while not self._ended.is_set():
            term = self._stand()
            if term is not None:
                self._lead(term)
        self._recorder.close()

    def _stand(self) -> Term | None:
        candidate = Candidate()
        while not self._ended.is_set():
            outcome: Term | PoolguardError
            try:
                outcome = self._recorder.acquire(self.lease, ttl=self._ttl, request_id=candidate.request_id)
            except PoolguardError as error:
                outcome = error
            pause = candidate.weigh(outcome)
            if pause is None:
                assert isinstance(outcome, Term), "elected without a term"
                return outcome
            runs = runs_for(outcome)
            if runs is not None and self._recorder.released(self.lease, runs, given_up=self._ended.is_set):
                pause = candidate.spread()
            self._ended.wait(pause)
        return None

    def _lead(self, term: Term) -> None:
        self._wishes.clear()
        self.term = term
        pause = renew_after(self._ttl)
        try:
            while not self._ended.is_set():
                self._while_leading(self.term)
                self._stir.clear()
                self._stir.wait(max(0.0, min(pause, self.term.remaining_seconds())))
                if self._wishes:
                    self._leave(self._wishes.pop())
                    return
                if self.term.remaining_seconds() <= 0:
                    return
                try:
                    self.term = self._recorder.renew(self.term)
                    pause = renew_after(self._ttl)
                except LeaseLost:
                    return
                except PoolguardError:
                    pause = retry_after(self.term.remaining_seconds())
        finally:
            self.term = None

    def _leave(self, how: str) -> None:
        assert self.term is not None, "nothing to leave"
        if how == "forget":
            self._history.note(Stopped(name=self.lease, token=self.term.token, at=boottime()))
            return
        try:
            self._recorder.release(self.term)
        except PoolguardError:
            return
