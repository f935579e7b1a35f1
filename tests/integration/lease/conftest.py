"""A store on a database of the test's own."""

from collections.abc import AsyncIterator, Callable, Coroutine

import pytest

from poolguard.aio.clock import SystemClock
from poolguard.lease.store import LeaseStore
from poolguard.lease.terms import Wanted
from poolguard.settings.model import Leases
from tests.support.cluster import Database

MakeStore = Callable[..., Coroutine[None, None, LeaseStore]]


@pytest.fixture
async def make_store(database: Database) -> AsyncIterator[MakeStore]:
    stores: list[LeaseStore] = []

    async def make(conninfo: str | None = None, **settings: object) -> LeaseStore:
        store = LeaseStore(conninfo or database.dsn, Leases(**settings), SystemClock())  # type: ignore[arg-type]
        stores.append(store)
        await store.open()
        return store

    yield make
    for store in stores:
        await store.close()


@pytest.fixture
async def store(make_store: MakeStore) -> LeaseStore:
    made = await make_store()
    await made.prepare()
    return made


def soon(seconds: float = 5.0) -> float:
    """A deadline."""
    return SystemClock().monotonic() + seconds


def wish(name: str = "a", holder: str = "pod-1", ttl: float = 30.0, request_id: str = "r1") -> Wanted:
    # Not by terms.wanted(): tests want terms shorter than people may have.
    return Wanted(name=name, holder=holder, ttl_seconds=ttl, request_id=request_id)
