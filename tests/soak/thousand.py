"""A thousand leases, renewed every five seconds, while a transaction stays open elsewhere in the database."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from poolguard.client import LeaseClient, Term
from poolguard.client.term import boottime
from poolguard.core.errors import PoolguardError
from poolguard.demo.postgres import EmbeddedPostgres
from tests.soak.stage import pod_settings, postgres
from tests.soak.verdict import Figure, Part, quantile
from tests.support.daemon import Daemon

LEASES: Final = 1000
EVERY_SECONDS: Final = 5.0
TTL: Final = 15.0
WORKERS: Final = 8
MOST_GROWTH: Final = 3.0
"""Of p99, from the first minute to the last."""
MOST_BYTES_A_VERSION: Final = 400
"""Of table and index together; with a transaction open for the whole run, every renewal leaves a version behind."""

_SIZE: Final = """
SELECT pg_table_size('poolguard.lease'), pg_indexes_size('poolguard.lease'), n_tup_upd, n_tup_hot_upd
  FROM pg_stat_all_tables WHERE relid = 'poolguard.lease'::regclass
"""


def run(seconds: float, seed: int, say: Callable[[str], None]) -> Part:
    """Renew, and look at sizes and times minute by minute."""
    del seed
    part = Part("thousand")
    with ExitStack() as stack:
        running = stack.enter_context(postgres())
        daemon = stack.enter_context(_daemon(running))
        terms = _acquire(daemon.control_url)
        say(f"{len(terms)} leases are held")
        other = stack.enter_context(running.connect())
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM poolguard.lease")
        renewers = stack.enter_context(_renewing(daemon.control_url, terms))
        minutes: list[list[float]] = []
        deadline = boottime() + seconds
        while boottime() < deadline:
            time.sleep(min(60.0, max(0.0, deadline - boottime())))
            minutes.append(renewers.taken())
            say(f"p99 {quantile(minutes[-1], 0.99):.1f} ms of {len(minutes[-1])} renewals")
        failed = renewers.failed
        with running.connect() as admin:
            admin.execute("SELECT pg_stat_force_next_flush()")
            row = admin.execute(_SIZE).fetchone()
        assert row is not None, "the table is gone"
        table, index, updates, hot = (int(str(value)) for value in row)
        first, last = quantile(minutes[0], 0.99), quantile(minutes[-1], 0.99)
        every = [each for minute in minutes for each in minute]
        part.figures += [
            Figure("leases", len(terms), least=LEASES),
            Figure("renewals", len(every), least=LEASES),
            Figure("renewals that failed", failed, most=0),
            Figure("renewals a second", len(every) / seconds, least=0.9 * LEASES / EVERY_SECONDS),
            Figure("p50", quantile(every, 0.5), "ms"),
            Figure("p99, first minute", first, "ms"),
            Figure("p99, last minute", last, "ms"),
            Figure("p99, last minute to first", last / first, most=MOST_GROWTH),
            Figure("worst", max(every), "ms"),
            Figure("table", table / 1024, "KiB"),
            Figure("index", index / 1024, "KiB"),
            Figure("bytes a version", (table + index) / (len(every) + LEASES), most=MOST_BYTES_A_VERSION),
            Figure("updates in place (HOT)", hot / max(1, updates)),
        ]
    return part


@contextmanager
def _daemon(running: EmbeddedPostgres) -> Iterator[Daemon]:
    daemon = Daemon(pod_settings(running.host, running.port, running.user))
    try:
        daemon.start()
        daemon.wait_until_it_runs()
        yield daemon
    finally:
        daemon.close()


def _acquire(url: str) -> list[Term]:
    with LeaseClient(url) as client:
        # Long enough that the first is still held when the last is had.
        return [client.acquire(f"n{number}", holder="holder", ttl_seconds=600.0) for number in range(LEASES)]


class _Renewers:
    """Threads that renew whatever is due."""

    def __init__(self, url: str, terms: list[Term]) -> None:
        self.failed = 0
        self._url: Final = url
        self._due: Final[queue.PriorityQueue[tuple[float, str, Term]]] = queue.PriorityQueue()
        self._taken: Final[queue.SimpleQueue[float]] = queue.SimpleQueue()
        self._finished: Final = threading.Event()
        began = time.monotonic()
        for number, term in enumerate(terms):
            self._due.put((began + number * EVERY_SECONDS / len(terms), term.name, term))
        self._threads: Final = [threading.Thread(target=self._renew, daemon=True) for _ in range(WORKERS)]
        for thread in self._threads:
            thread.start()

    def taken(self) -> list[float]:
        """Milliseconds of the renewals since the last call."""
        found = []
        while not self._taken.empty():
            found.append(self._taken.get())
        return found

    def close(self) -> None:
        """End the threads."""
        self._finished.set()
        for thread in self._threads:
            thread.join(10)

    def _renew(self) -> None:
        with LeaseClient(self._url) as client:
            while not self._finished.is_set():
                try:
                    due, name, term = self._due.get(timeout=0.2)
                except queue.Empty:
                    continue
                time.sleep(max(0.0, due - time.monotonic()))
                began = time.perf_counter()
                try:
                    term = client.renew(term)
                except PoolguardError:
                    self.failed += 1
                self._taken.put((time.perf_counter() - began) * 1000)
                self._due.put((due + EVERY_SECONDS, name, term))


@contextmanager
def _renewing(url: str, terms: list[Term]) -> Iterator[_Renewers]:
    renewers = _Renewers(url, terms)
    try:
        yield renewers
    finally:
        renewers.close()
