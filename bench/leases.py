"""How long a lease renewal takes: idle, with the relay at full load, with every pool exhausted by leaks."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, Self

import psycopg

from bench.contenders import POOLS, Contender
from bench.figures import percentile
from bench.pgbench import command
from bench.processes import BenchError
from bench.workloads import Workload

LEASE_SECONDS: Final = 15
PAUSE_SECONDS: Final = 0.01
"""Between renewals: they come like an application's, not as a flood."""
WAITERS_PER_POOL: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewals:
    """Milliseconds, as an application sees them on a kept HTTP connection. *failed*: any answer but 200."""

    number: int
    failed: int
    p50_ms: float
    p99_ms: float
    worst_ms: float


def measure(contender: Contender, binary: Path, *, number: int, folder: Path) -> dict[str, Renewals]:
    """Take a lease and renew it *number* times in each of the three situations."""
    with _Holder(contender) as holder:
        found = {"idle": holder.renew(number)}
        with loaded(contender, binary, folder):
            found["loaded"] = holder.renew(number)
        with exhausted(contender):
            found["exhausted"] = holder.renew(number)
    return found


def summarise(milliseconds: list[float], failed: int) -> Renewals:
    """Describe the renewals that took *milliseconds*; *failed* of them had another answer than 200."""
    return Renewals(
        number=len(milliseconds),
        failed=failed,
        p50_ms=percentile(milliseconds, 0.5),
        p99_ms=percentile(milliseconds, 0.99),
        worst_ms=max(milliseconds),
    )


class _Holder:
    """One application that holds one lease."""

    def __init__(self, contender: Contender) -> None:
        self._http = HTTPConnection(contender.host, contender.control_port, timeout=10)
        self._token = 0

    def __enter__(self) -> Self:
        status, said = self._ask("PUT", "/v1/leases/bench", leaseDurationSeconds=LEASE_SECONDS)
        if status not in {200, 201}:
            raise BenchError(f"poolguard gave no lease: {status} {said}")
        self._token = said["token"]
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def renew(self, number: int) -> Renewals:
        took, failed = [], 0
        for _ in range(number):
            began = time.perf_counter()
            status, _said = self._ask("POST", "/v1/leases/bench/renew", token=self._token)
            took.append((time.perf_counter() - began) * 1000)
            failed += status != 200
            time.sleep(PAUSE_SECONDS)
        return summarise(took, failed)

    def _ask(self, method: str, path: str, **fields: object) -> tuple[int, Any]:
        body = json.dumps({"holderIdentity": "bench", **fields})
        self._http.request(method, path, body, {"Content-Type": "application/json"})
        with self._http.getresponse() as answer:
            return answer.status, json.loads(answer.read() or b"null")


@contextmanager
def loaded(contender: Contender, binary: Path, folder: Path) -> Iterator[None]:
    """Keep 40 clients selecting as fast as they can."""
    workload = Workload(name="load", script="select-only", protocol="simple", clients=40, log_share=0.001)
    line = command(binary, workload, contender, seconds=600, log_prefix=folder / "load")
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
        if process.poll() is not None:
            raise BenchError("pgbench ended while the renewals under load were measured: the figure would be wrong")
    finally:
        process.kill()
        process.wait()


@contextmanager
def exhausted(contender: Contender) -> Iterator[None]:
    """Leak a transaction on every server of every pool, and keep clients waiting behind them."""
    finished = threading.Event()
    with ExitStack() as leaks:
        for pool, size in POOLS.items():
            for _ in range(size):
                leak = leaks.enter_context(_connect(contender, pool, "bench-leak"))
                leak.execute("SELECT 1")  # psycopg has begun a transaction, and nobody ends it
        waiters = [
            threading.Thread(target=_wait_in_vain, args=(contender, pool, finished), daemon=True)
            for pool in POOLS
            for _ in range(WAITERS_PER_POOL)
        ]
        for waiter in waiters:
            waiter.start()
        try:
            yield
        finally:
            finished.set()
    # The leaks are gone, so whoever still waited was served.
    for waiter in waiters:
        waiter.join(timeout=10)


def _connect(contender: Contender, pool: str, application: str) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(
        host=contender.host,
        port=contender.port,
        user=contender.user,
        dbname=pool,
        application_name=application,
    )


def _wait_in_vain(contender: Contender, pool: str, finished: threading.Event) -> None:
    with _connect(contender, pool, "bench-waiter") as client:
        client.autocommit = True
        while not finished.is_set():
            try:
                client.execute("SELECT 1")
            except psycopg.errors.TooManyConnections:
                continue  # its wait timed out, as it must while every server is leaked: queue again
