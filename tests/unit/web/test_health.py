"""The probes and the scrape over HTTP."""

from dataclasses import dataclass, field

from aiohttp.test_utils import TestClient, TestServer

from poolguard.guard.clients import ClientBook
from poolguard.ledger.book import Ledger
from poolguard.metrics.collector import Exposition
from poolguard.metrics.sources import SettingsInForce, Sources
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.settings.model import Settings
from poolguard.web.app import metrics_app
from poolguard.web.readiness import LeaseStore
from poolguard.web.sources import MetricsSources
from tests.support.clock import ManualClock
from tests.support.snapshots import pool_snapshot
from tests.support.web import Client


@dataclass
class Process:
    started: bool = True
    listening: bool = True
    draining: bool = False
    lease_store: LeaseStore = LeaseStore.READY
    pools: list[PoolSnapshot] = field(default_factory=lambda: [pool_snapshot(opened_total=1)])
    clients: ClientBook = field(default_factory=ClientBook)

    def client(self) -> Client:
        clock = ManualClock()
        exposition = Exposition(
            Sources(
                clock=clock,
                ledger=Ledger(),
                pools=lambda: self.pools,
                settings=SettingsInForce(settings=Settings(), hash="abc", source="defaults", loaded_at=1.0),
            )
        )
        sources = MetricsSources(
            clients=self.clients,
            clock=clock,
            exposition=exposition,
            pools=lambda: self.pools,
            started=lambda: self.started,
            listening=lambda: self.listening,
            draining=lambda: self.draining,
            loop_lag_seconds=lambda: 0.0012,
            lease_store=lambda: self.lease_store,
        )
        return TestClient(TestServer(metrics_app(sources)))


async def test_alive_is_whoever_answers_whatever_postgresql_does() -> None:
    process = Process(started=False, listening=False, pools=[pool_snapshot(last_error="gone")])
    async with process.client() as client:
        answer = await client.get("/livez")

        assert answer.status == 200
        assert await answer.json() == {"status": "ok", "loop_lag_seconds": 0.0012}


async def test_ready_tells_every_check_and_its_reason() -> None:
    async with Process().client() as client:
        answer = await client.get("/readyz")
        body = await answer.json()

    assert (answer.status, body["status"]) == (200, "ok")
    assert [check["name"] for check in body["checks"]] == [
        "started",
        "listener",
        "draining",
        "pool:app",
        "leases",
    ]
    assert all(check["why"] for check in body["checks"])


async def test_one_pool_that_can_not_open_makes_it_unready() -> None:
    pools = [pool_snapshot("jobs", idle=1), pool_snapshot("app", last_error="connection refused")]
    async with Process(pools=pools).client() as client:
        answer = await client.get("/readyz")
        body = await answer.json()

    failing = [check["name"] for check in body["checks"] if not check["ok"]]
    assert (answer.status, failing) == (503, ["pool:app"])


async def test_draining_is_unready_and_alive() -> None:
    async with Process(draining=True).client() as client:
        assert (await client.get("/readyz")).status == 503
        assert (await client.get("/livez")).status == 200


async def test_without_the_lease_store_it_is_ready() -> None:
    async with Process(lease_store=LeaseStore.AWAY).client() as client:
        assert (await client.get("/readyz")).status == 200


async def test_startup_is_over_when_everything_was_started() -> None:
    process = Process(started=False)
    async with process.client() as client:
        before = await client.get("/startupz")
        process.started = True
        after = await client.get("/startupz")

    assert (before.status, after.status) == (503, 200)


async def test_prometheus_gets_the_format_that_it_asks_for_under_any_name() -> None:
    async with Process().client() as client:
        plain = await client.get("/metrics", headers={"Host": "poolguard.shop.example:9127"})
        open_ = await client.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
        texts = await plain.text(), await open_.text()

    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert open_.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert 'poolguard_pool_size_limit{pool="app"} 10.0\n' in texts[0]
    assert texts[1].endswith("# EOF\n")


async def test_the_metrics_listener_shows_no_sessions_and_changes_nothing() -> None:
    async with Process().client() as client:
        assert (await client.get("/v1/sessions")).status == 404
        assert (await client.post("/metrics")).status == 405


async def test_a_path_that_there_is_not_points_to_no_list_that_there_is_not_either() -> None:
    async with Process().client() as client:
        missing = await client.get("/")
        assert (missing.status, (await missing.json()).keys()) == (404, {"error", "message"})
