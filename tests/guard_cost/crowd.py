"""Two hundred backends in a queue for one row: what it takes to make the lock graph of them."""

import asyncio
import time
from statistics import median
from typing import Final

from poolguard.aio.clock import SystemClock
from poolguard.demo.postgres import EmbeddedPostgres
from poolguard.guard.locks.observer import Observer
from poolguard.guard.locks.pace import PAUSE_FACTOR
from poolguard.guard.locks.state import LockState
from tests.integration.guard.locks.crowd import UPDATE, Crowd, nobody, seen
from tests.soak.verdict import Figure, Part
from tests.support.cluster import of_embedded

WAITERS: Final = 200
LOOKS: Final = 30
BOUND_MS: Final = 250.0
"""PostgreSQL's own, for each question (`statement_timeout`)."""
STALL_MS: Final = 5.0


async def run() -> Part:
    """Make it some times over."""
    with EmbeddedPostgres(settings={"max_connections": str(WAITERS + 20)}) as postgres:
        crowd = Crowd(of_embedded(postgres))
        observer = Observer(crowd.database.dsn, LockState(), clock=SystemClock(), transactions=nobody, interval=0.0)
        try:
            await crowd.join("CREATE TABLE item (id int PRIMARY KEY, n int)", "INSERT INTO item VALUES (1, 0)")
            await crowd.join("BEGIN", UPDATE)
            for _ in range(WAITERS):
                await crowd.stuck(UPDATE)
            await observer.connect()
            await seen(observer, WAITERS)
            return await _measured(observer)
        finally:
            await observer.stop()
            await crowd.leave()


async def _measured(observer: Observer) -> Part:
    part = Part(f"the lock graph with {WAITERS} waiters")
    took: list[float] = []
    stalls: list[float] = []
    for _ in range(LOOKS):
        ticks: list[float] = []
        ticking = asyncio.create_task(_tick(ticks))
        began = time.perf_counter()
        await observer.look()
        took.append(1000 * (time.perf_counter() - began))
        ticking.cancel()
        stalls.append(max(ticks))
    part.figures += [
        Figure("one reading, the middle one", median(took), "ms", most=BOUND_MS),
        Figure("the slowest", max(took), "ms", most=BOUND_MS),
        Figure("the loop stands still for, in the middle one", median(stalls), "ms", most=STALL_MS),
        Figure("share of a core of PostgreSQL's, at most", 100 / PAUSE_FACTOR, "%"),
    ]
    if observer.state.graph.waiters != WAITERS:
        part.broken.append(f"{observer.state.graph.waiters} waiters were seen")
    return part


async def _tick(ticks: list[float]) -> None:
    """Note how long others had the loop, each time; what other processes took of that is not counted."""
    at = time.thread_time()
    while True:
        await asyncio.sleep(0)
        now = time.thread_time()
        ticks.append(1000 * (now - at))
        at = now
