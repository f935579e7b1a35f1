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
from tests.soak.noise import Noise, echo
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
    failed: int = 0

    def figures(self, what: str, *, most_p99: float | None, none_failed: bool) -> Iterator[Figure]:
        """In figures."""
        yield Figure(f"{what}: number", len(self.milliseconds), least=1)
        yield Figure(f"{what}: p50", quantile(self.milliseconds, 0.5), "ms")
        yield Figure(f"{what}: p99", quantile(self.milliseconds, 0.99), "ms", most=most_p99)
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
def asking(url: str) -> Iterator[Asking]:
    """A process that asks the poolguard at *url*, and an echo."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with ours:
        process = context.Process(target=_serve, args=(url, theirs))
        process.start()
        theirs.close()
        try:
            yield Asking(ours)
        finally:
            ours.send(None)
            process.join(END_SECONDS)
            process.kill()


def _serve(url: str, orders: Connection) -> None:
    with echo() as noise:
        in_real_time = _in_real_time()
        while (seconds := orders.recv()) is not None:
            noise.milliseconds.clear()
            renewals, answers = _measure(url, seconds, noise)
            orders.send(Measured(renewals, answers, list(noise.milliseconds), in_real_time))


def _in_real_time() -> bool:
    """Ask the system to run this process before all others; it sleeps most of the time. False: it may not."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except (AttributeError, OSError):
        return False
    return True


def _measure(url: str, seconds: float, noise: Noise) -> tuple[Taken, Taken]:
    renewals, answers = Taken(), Taken()
    finished = threading.Event()
    with LeaseClient(url) as client:
        term = client.acquire(NAME, holder="holder", ttl_seconds=TTL)
        thread = threading.Thread(target=_ask, args=(url, answers, finished), daemon=True)
        thread.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            term = _renewed(client, term, renewals)
            noise.ask()
            time.sleep(RENEW_EVERY_SECONDS)
        finished.set()
        thread.join(END_SECONDS)
        client.release(term)
    return renewals, answers


def _renewed(client: LeaseClient, term: Term, taken: Taken) -> Term:
    began = time.perf_counter()
    try:
        term = client.renew(term)
    except PoolguardError:
        taken.failed += 1
    taken.milliseconds.append((time.perf_counter() - began) * 1000)
    return term


def _ask(url: str, taken: Taken, finished: threading.Event) -> None:
    with LeaseClient(url) as client:
        while not finished.wait(ASK_EVERY_SECONDS):
            began = time.perf_counter()
            shown = client.leader(NAME)
            taken.milliseconds.append((time.perf_counter() - began) * 1000)
            taken.failed += shown is None
