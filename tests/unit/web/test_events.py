"""The stream of pools and incidents."""

import json
from contextlib import AsyncExitStack

import pytest
from aiohttp import ClientResponse

from poolguard.guard.book import STREAM_LENGTH
from poolguard.guard.incidents import Incident
from poolguard.pool.state import Refusal
from poolguard.web import events as module
from poolguard.web.views import pool_view
from tests.support.eventually import eventually_async
from tests.support.snapshots import pool_snapshot
from tests.support.web import Control

Event = tuple[str, dict[str, object]]


async def next_event(answer: ClientResponse) -> Event:
    """The next event, comments left out."""
    name = ""
    while True:
        line = (await answer.content.readline()).decode().rstrip("\n")
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            return name, json.loads(line.removeprefix("data: "))


async def next_of(answer: ClientResponse, kind: str) -> dict[str, object]:
    """The data of the next event of that kind."""
    while True:
        name, data = await next_event(answer)
        if name == kind:
            return data


def starve(control: Control) -> Incident:
    return control.book.starved("app", 1.0, Refusal.TIMEOUT, [])


async def test_pools_come_at_once_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POOLS_SECONDS", 0.01)
    control = Control(pools=[pool_snapshot("app")])
    async with control.client() as client, client.get("/v1/events") as answer:
        assert answer.content_type == "text/event-stream"
        first, second = await next_event(answer), await next_event(answer)

    assert first == second == ("pools", {"pools": [pool_view(pool) for pool in control.pools]})


async def test_an_incident_comes_as_it_is_recorded() -> None:
    control = Control()
    async with control.client() as client, client.get("/v1/events") as answer:
        await next_of(answer, "pools")
        incident = starve(control)
        told = await next_of(answer, "incident")

    assert told == incident.as_json()


async def test_a_reader_that_lost_some_is_told_how_many() -> None:
    control = Control()
    async with control.client() as client, client.get("/v1/events") as answer:
        await next_of(answer, "pools")
        incident = starve(control)
        for _ in range(STREAM_LENGTH + 2):
            control.book.record(incident)
        assert await next_of(answer, "missed") == {"incidents": 3}
        await next_of(answer, "incident")


async def test_readers_are_bounded_and_one_that_goes_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POOLS_SECONDS", 0.01)
    control = Control()
    async with control.client() as client, AsyncExitStack() as readers:
        answers = [await readers.enter_async_context(client.get("/v1/events")) for _ in range(module.MAX_STREAMS)]
        for answer in answers:
            await next_event(answer)
        refused = await client.get("/v1/events")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
        assert (await refused.json())["error"] == "too_many_streams"
        answers[0].close()

        async def room() -> bool:
            async with client.get("/v1/events") as another:
                return another.status == 200

        await eventually_async(room)


async def test_it_takes_no_parameters() -> None:
    async with Control().client() as client:
        assert (await client.get("/v1/events?pool=app")).status == 400
