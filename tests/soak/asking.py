"""Renewals and /leader, timed from a process of their own that does nothing else, beside an echo that is asked as often."""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

from poolguard.client import LeaseClient, Term
from poolguard.core.errors import PoolguardError
from tests.soak.noise import Noise, ProcessClock, echo
from tests.soak.verdict import Figure, quantile

NAME: Final = "saturation"
TTL: Final = 15.0
RENEW_EVERY_SECONDS: Final = 0.05
ASK_EVERY_SECONDS: Final = 0.02
END_SECONDS: Final = 30.0


@dataclass(slots=True)
class Taken:
    """Milliseconds of each request, and how many failed."""

    milliseconds: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    """For how long poolguard ran meanwhile, in milliseconds of its processor time: what it would take on a processor of
    its own. Empty where that can't be read."""
    failed: int = 0

    def figures(
        self, what: str, *, most_p99: float | None, none_failed: bool, most_own_p99: float | None = None
    ) -> Iterator[Figure]:
        """In figures."""
        yield Figure(f"{what}: number", len(self.milliseconds), least=1)
        yield Figure(f"{what}: p50", quantile(self.milliseconds, 0.5), "ms")
        yield Figure(f"{what}: p99", quantile(self.milliseconds, 0.99), "ms", most=most_p99)
        if self.own:
            yield Figure(f"{what}: p99 of poolguard's own time", quantile(self.own, 0.99), "ms", most=most_own_p99)
        yield Figure(f"{what}: worst", max(self.milliseconds, default=0.0), "ms")
        yield Figure(f"{what}: failed", self.failed, most=0 if none_failed else None)


@dataclass(slots=True)
class Measured:
    """What came of one measurement."""

    renewals: Taken
    answers: Taken
    noise: Sequence[float]
    """Milliseconds of the echo's round trips meanwhile."""
    in_real_time: bool
    """The client never waited for a processor: what others do to it is not in the figures."""


class Asking:
    """The process that asks. `measure` may be called again."""

    def __init__(self, process: Connection) -> None:
        self._process: Final = process

    def measure(self, seconds: float) -> Measured:
        """Ask for *seconds*."""
        self._process.send(seconds)
        answer = self._process.recv()
        assert isinstance(answer, Measured), answer
        return answer


@contextmanager
def asking(url: str, pid: int) -> Iterator[Asking]:
    """A process that asks the poolguard at *url*, which is process *pid*, and an echo."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with ours:
        process = context.Process(target=_serve, args=(url, pid, theirs))
        process.start()
        theirs.close()
        try:
            yield Asking(ours)
        finally:
            ours.send(None)
            process.join(END_SECONDS)
            process.kill()


def _serve(url: str, pid: int, orders: Connection) -> None:
    with echo() as noise:
        in_real_time = _in_real_time()
        while (seconds := orders.recv()) is not None:
            noise.milliseconds.clear()
            renewals, answers = _measure(url, ProcessClock.of(pid), seconds, noise)
            orders.send(Measured(renewals, answers, list(noise.milliseconds), in_real_time))


def _in_real_time() -> bool:
    """Ask the system to run this process before all others; it sleeps most of the time. False: it may not."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except (AttributeError, OSError):
        return False
    return True


def _measure(url: str, clock: ProcessClock | None, seconds: float, noise: Noise) -> tuple[Taken, Taken]:
    renewals, answers = Taken(), Taken()
    finished = threading.Event()
    with LeaseClient(url) as client:
        term = client.acquire(NAME, holder="holder", ttl_seconds=TTL)
        thread = threading.Thread(target=_ask, args=(url, clock, answers, finished), daemon=True)
        thread.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            term = _renewed(client, term, clock, renewals)
            noise.ask()
            time.sleep(RENEW_EVERY_SECONDS)
        finished.set()
        thread.join(END_SECONDS)
        client.release(term)
    return renewals, answers


@contextmanager
def _timed(taken: Taken, clock: ProcessClock | None) -> Iterator[None]:
    began, ran = time.perf_counter(), clock.seconds() if clock is not None else 0.0
    yield
    if clock is not None:
        taken.own.append((clock.seconds() - ran) * 1000)
    taken.milliseconds.append((time.perf_counter() - began) * 1000)


def _renewed(client: LeaseClient, term: Term, clock: ProcessClock | None, taken: Taken) -> Term:
    with _timed(taken, clock):
        try:
            return client.renew(term)
        except PoolguardError:
            taken.failed += 1
    return term


def _ask(url: str, clock: ProcessClock | None, taken: Taken, finished: threading.Event) -> None:
    with LeaseClient(url) as client:
        while not finished.wait(ASK_EVERY_SECONDS):
            with _timed(taken, clock):
                shown = client.leader(NAME)
            taken.failed += shown is None
