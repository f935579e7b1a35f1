"""The lease API over a store in memory, behind the middlewares that it has in production."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from poolguard.lease.campaigns import Campaigns
from poolguard.lease.manager import LeaseManager
from poolguard.settings.model import Leases
from poolguard.web.elections import election_routes
from poolguard.web.errors import errors_to_json
from poolguard.web.guardrails import guardrails
from poolguard.web.hosts import OwnNames
from poolguard.web.leases import lease_routes
from tests.support.clock import ManualClock
from tests.support.leases import Table, TableStore

Client = TestClient[web.Request, web.Application]
TOKEN = "t0ken"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> TableStore:
    return TableStore(Table(), clock)


@pytest.fixture
def admin_token() -> list[str]:
    return [TOKEN]


@pytest.fixture
async def client(store: TableStore, clock: ManualClock, admin_token: list[str]) -> AsyncIterator[Client]:
    manager = LeaseManager(store, Leases(), clock)
    await manager.start()
    campaigns = Campaigns(manager, clock)
    gate = guardrails(OwnNames("127.0.0.1"), lambda: admin_token[0])
    app = web.Application(middlewares=[errors_to_json, gate])
    app.add_routes(lease_routes(manager, clock, admin_token=lambda: admin_token[0]))
    app.add_routes(election_routes(campaigns, clock))
    async with TestClient(TestServer(app)) as made:
        yield made
    await campaigns.stop()
    await manager.stop()
