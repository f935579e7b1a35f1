"""Rules of which pool a session goes to, and of reloads."""

import pytest

from poolguard.aio.tasks import TaskOwner
from poolguard.pool.pool import Pool
from poolguard.pool.registry import Registry, choose_pool
from poolguard.settings.model import Match, Route
from poolguard.settings.model import Pool as PoolSettings
from tests.support.clock import ManualClock
from tests.unit.pool.fakes import FakeServer, Opener

ROUTES = (
    Route(match=Match(application_name="batch-*", user="ann"), pool="batch"),
    Route(match=Match(user="r?port"), pool="reports"),
    Route(match=Match(database="shop", application_name="web"), pool="web"),
    Route(match=Match(statement="."), pool="single transactions"),
    Route(match=Match(user="ann"), pool="late"),
)


@pytest.mark.parametrize(
    ("application_name", "user", "database", "pool"),
    [
        ("batch-7", "ann", "shop", "batch"),
        ("batch-7", "bob", "shop", "shop"),
        ("Batch-7", "bob", "x", "main"),
        ("", "report", "shop", "reports"),
        ("web", "bob", "shop", "web"),
        ("web", "bob", "other", "main"),
        ("web", "ann", "other", "late"),
        ("", "", "shop", "shop"),
    ],
)
def test_the_first_route_that_matches_wins_then_the_database_then_the_default(
    application_name: str, user: str, database: str, pool: str
) -> None:
    chosen = choose_pool(
        database=database,
        user=user,
        application_name=application_name,
        pools=("main", "shop"),
        routes=ROUTES,
        default_pool="main",
    )
    assert chosen == pool


def never(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name}: {error!r}")


def registry_of(*names: str) -> Registry[FakeServer]:
    registry: Registry[FakeServer] = Registry(ManualClock())
    for name in names:
        registry.add(make(name, PoolSettings(size=1)))
    return registry


def make(name: str, settings: PoolSettings) -> Pool[FakeServer]:
    return Pool(name, settings, opener=Opener(), clock=ManualClock(), tasks=TaskOwner(never))


def test_a_name_is_given_once() -> None:
    registry = registry_of("a")
    with pytest.raises(AssertionError, match="there already"):
        registry.add(make("a", PoolSettings()))


def test_a_reload_adds_resizes_and_hands_back_what_went() -> None:
    registry = registry_of("stays", "goes")
    stays, goes = registry.pools["stays"], registry.pools["goes"]
    gone = registry.apply({"comes": PoolSettings(size=2), "stays": PoolSettings(size=3)}, make)
    assert gone == [goes]
    assert registry.pools.keys() == {"stays", "comes"}
    assert registry.pools["stays"] is stays
    assert [(shown.name, shown.size) for shown in registry.snapshots()] == [("stays", 3), ("comes", 2)]


async def test_maintain_and_stop_reach_every_pool() -> None:
    clock, tasks = ManualClock(), TaskOwner(never)
    registry: Registry[FakeServer] = Registry(clock)
    openers = [Opener(), Opener()]
    for number, opener in enumerate(openers):
        settings = PoolSettings(size=1, min_idle=1)
        registry.add(Pool(f"p{number}", settings, opener=opener, clock=clock, tasks=tasks))
    registry.maintain()
    for opener in openers:
        await opener.arrived.get()
    assert [shown.idle for shown in registry.snapshots()] == [1, 1]
    registry.stop()
    assert [[server.closed for server in opener.servers] for opener in openers] == [[["stopped"]], [["stopped"]]]
    await tasks.close()
