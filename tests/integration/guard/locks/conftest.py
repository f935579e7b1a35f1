"""A table with two rows, a crowd round it, and an observer that looks when it is told to."""

from collections.abc import AsyncIterator

import pytest

from poolguard.aio.clock import SystemClock
from poolguard.guard.locks.observer import Observer
from poolguard.guard.locks.state import LockState
from tests.integration.guard.locks.crowd import Crowd, nobody
from tests.support.cluster import Database


@pytest.fixture
async def crowd(database: Database) -> AsyncIterator[Crowd]:
    found = Crowd(database)
    await found.join("CREATE TABLE item (id int PRIMARY KEY, n int)", "INSERT INTO item VALUES (1, 0), (2, 0)")
    yield found
    await found.leave()


@pytest.fixture
async def observer(database: Database) -> AsyncIterator[Observer]:
    made = Observer(database.dsn, LockState(), clock=SystemClock(), transactions=nobody, interval=0.0)
    await made.connect()
    yield made
    await made.stop()
