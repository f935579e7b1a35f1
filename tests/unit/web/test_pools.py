"""Pools over HTTP."""

from poolguard.pool.snapshot import CloseReason
from tests.support.snapshots import lane_snapshot, pool_snapshot
from tests.support.web import Control


async def test_all_pools_come_in_the_order_of_the_settings() -> None:
    control = Control(pools=[pool_snapshot("jobs"), pool_snapshot("app")])
    async with control.client() as client:
        body = await (await client.get("/v1/pools")).json()

    assert [pool["name"] for pool in body["pools"]] == ["jobs", "app"]


async def test_one_pool_tells_its_numbers_and_why_it_can_not_open() -> None:
    pool = pool_snapshot(
        held=3, waiting=2, oldest_wait_seconds=1.23456, closed_total={CloseReason.LOST: 4}, last_error="refused"
    )
    async with Control(pools=[pool]).client() as client:
        body = await (await client.get("/v1/pools/app")).json()

    assert (body["held"], body["waiting"], body["oldest_wait_seconds"]) == (3, 2, 1.235)
    assert body["closed_total"] == {"lost": 4}
    assert body["last_error"] == "refused"


async def test_its_lanes_are_told() -> None:
    lane = lane_snapshot(in_flight=4, waiting=2, oldest_wait_seconds=1.5, rejections_total={"timeout": 3})
    async with Control(pools=[pool_snapshot(lanes=(lane,))]).client() as client:
        body = await (await client.get("/v1/pools/app")).json()

    assert body["lanes"] == [
        {
            "name": "job-pop",
            "mode": "enforce",
            "at_once": 4,
            "in_flight": 4,
            "waiting": 2,
            "max_waiting": 20,
            "oldest_wait_seconds": 1.5,
            "wait_timeout_seconds": 10.0,
            "entered_total": 0,
            "rejections_total": {"timeout": 3},
        }
    ]


async def test_an_unknown_pool_is_404_and_names_those_that_there_are() -> None:
    async with Control(pools=[pool_snapshot("jobs"), pool_snapshot("app")]).client() as client:
        answer = await client.get("/v1/pools/ap")
        body = await answer.json()

    assert (answer.status, body["hint"]) == (404, "There are: jobs, app.")
