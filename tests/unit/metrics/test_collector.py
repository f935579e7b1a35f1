"""Readings become text that Prometheus reads, in slices."""

import asyncio
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from poolguard.core.histogram import WAIT_BOUNDS, Histogram
from poolguard.guard.clients import ClientBook, ClientKey
from poolguard.guard.counters import CourierCounters, GuardCounters
from poolguard.guard.errors import ErrorBook
from poolguard.guard.locks.state import LockState
from poolguard.lease.counters import LeaseCounters, LeaseView
from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import Phase
from poolguard.metrics.catalogue import CATALOGUE, PINS, Kind
from poolguard.metrics.collector import SLICE, Exposition, PoolguardCollector, family
from poolguard.metrics.sources import SettingsInForce, Sources
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.relay.counters import RelayCounters
from poolguard.settings.model import Settings
from tests.support.clock import ManualClock
from tests.support.snapshots import lane_snapshot, pool_snapshot

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


def lease() -> LeaseView:
    return LeaseView(name="leader", held=True, token=1, transitions=1, valid_for_seconds=1, last_renew_age_seconds=1)


def sources(*pools: PoolSnapshot, **more: Any) -> Sources:
    return Sources(
        clock=ManualClock(),
        ledger=Ledger(),
        pools=lambda: pools,
        settings=SettingsInForce(settings=Settings(), hash="abc", source="defaults", loaded_at=1.0),
        **more,
    )


def everything(*pools: PoolSnapshot) -> Sources:
    relay = RelayCounters()
    relay.certificate_expires_at = 1e9
    relay.pins_total["app", "listen"] = 1
    relay.retries_total["app", "40P01", "retried"] = 1
    errors = ErrorBook(lambda _: None)
    errors.pairs["aa", "bb"] = 1
    errors.duplicates["app", "session", "session_pkey"] = 1
    clients = ClientBook()
    clients.see({ClientKey("shop", "bob", "unix"): {("app", Phase.IDLE): 1}}, 0.0)
    foreign = GuardCounters()
    foreign.actions["", "psql", "terminate", "done"] = 1
    return sources(
        *pools,
        clients=clients,
        foreign=foreign,
        relay=relay,
        guard=GuardCounters(),
        webhook=CourierCounters(),
        kubernetes=CourierCounters(),
        leases=LeaseCounters(lambda: [lease()]),
        loop_blocks={"poolguard/relay/pipe.py walk": 1},
        locks=LockState(),
        errors=errors,
    )


def default_pools() -> list[PoolSnapshot]:
    lanes = (lane_snapshot(rejections_total={"timeout": 0, "queue_full": 0}),)
    return [pool_snapshot("election"), pool_snapshot("jobs", lanes=lanes), pool_snapshot("app")]


def test_the_classic_text_holds_every_metric_of_the_catalogue_with_its_kind() -> None:
    text, content_type = Exposition(everything(*default_pools())).render()

    kinds = {found.name: found.type for found in parse_text(text.decode())}
    wanted = {
        metric.name.removesuffix("_total"): "gauge" if metric.kind is Kind.INFO else metric.kind.value
        for metric in CATALOGUE
    }
    assert content_type.startswith("text/plain; version=0.0.4")
    assert kinds == wanted


def test_openmetrics_is_given_to_whom_asks_for_it_and_is_well_formed() -> None:
    text, content_type = Exposition(everything(*default_pools())).render(OPENMETRICS)

    families = {found.name: found.type for found in parse_openmetrics(text.decode())}  # type: ignore[no-untyped-call] # theirs
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"\n# EOF\n")
    assert families["poolguard_build"] == "info"
    assert families["poolguard_wait_seconds"] == "histogram"


def test_a_registry_of_prometheus_clients_says_the_same() -> None:
    given = everything(*default_pools())
    registry = CollectorRegistry()
    registry.register(PoolguardCollector(given))

    def names(text: bytes) -> set[str]:
        return {line.partition(b" ")[0].decode() for line in text.splitlines()}

    assert names(generate_latest(registry)) == names(Exposition(given).render()[0])


def test_a_histogram_is_cumulative_and_ends_in_infinity() -> None:
    waits = Histogram(WAIT_BOUNDS)
    for seconds in (0.0004, 0.2, 500.0):
        waits.observe(seconds)
    text = Exposition(sources(pool_snapshot(wait_seconds=waits))).render()[0].decode()

    assert 'poolguard_wait_seconds_bucket{le="0.0005",pool="app"} 1.0\n' in text
    assert 'poolguard_wait_seconds_bucket{le="120.0",pool="app"} 2.0\n' in text
    assert 'poolguard_wait_seconds_bucket{le="+Inf",pool="app"} 3.0\n' in text
    assert 'poolguard_wait_seconds_count{pool="app"} 3.0\n' in text


def test_a_source_that_is_absent_leaves_its_metrics_out() -> None:
    text = Exposition(sources(pool_snapshot())).render()[0]

    assert b"poolguard_lease" not in text
    assert b"poolguard_policy" not in text
    assert b"poolguard_pool_size_limit" in text


def test_a_family_without_readings_is_empty() -> None:
    assert family(PINS, ()).samples == []


def test_a_scrape_of_three_pools_is_little_work() -> None:
    """At most 9 µs a sample: below 7 ms in all, in slices of less than 2 ms."""
    given = everything(*default_pools())
    samples = sum(len(found.samples) for found in PoolguardCollector(given).collect())

    assert 300 < samples < 750


async def test_however_many_pools_there_are_no_slice_is_longer_and_no_header_comes_twice() -> None:
    pools = [pool_snapshot(f"pool{number}") for number in range(40)]
    scrape = asyncio.create_task(Exposition(everything(*pools)).render_in_turns())
    turns = 0
    while not scrape.done():
        turns += 1
        await asyncio.sleep(0)

    lines = scrape.result()[0].decode().splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    headers = [line for line in lines if line.startswith("# TYPE")]
    assert turns >= len(samples) / (2 * SLICE)
    assert len(headers) == len(set(headers))
    assert len(samples) == len(set(samples)) > 2000
