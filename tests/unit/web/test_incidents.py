"""Incidents over HTTP, out of the guard's book."""

from dataclasses import replace

import pytest

from poolguard.pool.state import Refusal
from tests.support.web import Client, Control


async def starve(control: Control, *pools: str) -> list[str]:
    found = []
    for pool in pools:
        found.append(control.book.starved(pool, 5.0, Refusal.TIMEOUT, []).id)
        await control.clock.advance(10.0)
    return found


async def ids(client: Client, query: str) -> list[str]:
    body = await (await client.get("/v1/incidents", params=query)).json()
    return [found["id"] for found in body["incidents"]]


async def test_the_newest_comes_first_and_filters_hold() -> None:
    control = Control()
    first, second, third = await starve(control, "app", "jobs", "app")
    async with control.client() as client:
        assert await ids(client, "") == [third, second, first]
        assert await ids(client, "pool=app") == [third, first]
        assert await ids(client, "outcome=timeout&pool=jobs") == [second]
        assert await ids(client, "outcome=done") == []
        assert await ids(client, "limit=1&offset=1") == [second]


async def test_since_is_a_moment_with_its_zone() -> None:
    control = Control()
    _, second = await starve(control, "app", "jobs")
    async with control.client() as client:
        body = await (await client.get(f"/v1/incidents/{second}")).json()
        assert await ids(client, f"since={body['time']}") == [second]


@pytest.mark.parametrize(
    "query", ["since=yesterday", "since=2026-01-31T12:00:00", "rule=leak", "action=kill", "kind=action"]
)
async def test_a_filter_that_is_not_understood_is_refused(query: str) -> None:
    async with Control().client() as client:
        assert (await client.get(f"/v1/incidents?{query}")).status == 400


async def test_a_rule_that_a_reload_took_away_is_known_while_its_incidents_are() -> None:
    control = Control()
    async with control.client() as client:
        assert (await client.get("/v1/incidents?rule=gone")).status == 400
        (first,) = await starve(control, "app")
        kept = control.book.get(first)
        assert kept is not None
        control.book.record(replace(kept, id="1", rule="gone"))
        assert await ids(client, "rule=gone") == ["1"]


async def test_a_filter_that_is_given_twice_is_refused_rather_than_read_once() -> None:
    async with Control().client() as client:
        answer = await client.get("/v1/incidents?pool=app&pool=jobs")
        assert answer.status == 400
        assert "'pool' is given more than once" in await answer.text()


async def test_one_incident_is_found_by_its_id() -> None:
    control = Control()
    (only,) = await starve(control, "app")
    async with control.client() as client:
        found = await client.get(f"/v1/incidents/{only}")
        missing = await client.get("/v1/incidents/nothing")
        body = await found.json()

    assert (found.status, missing.status) == (200, 404)
    assert (body["id"], body["kind"], body["version"]) == (only, "starvation", 1)
