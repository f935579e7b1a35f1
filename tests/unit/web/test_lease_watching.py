"""The long poll and the stream of one lease, over HTTP."""

import asyncio
import json

import pytest

from poolguard.core.errors import InvalidLease, LeaseUnavailable
from poolguard.web import lease_watching as module
from poolguard.web.lease_watching import INDEX, index_of_page, parse_watch
from tests.support.clock import ManualClock
from tests.support.eventually import eventually_async
from tests.support.leases import TableStore
from tests.unit.web.conftest import Client

Answer = tuple[int, str, dict[str, object]]


async def get(client: Client, path: str) -> Answer:
    async with client.get(path) as answer:
        return answer.status, answer.headers.get(INDEX, ""), await answer.json()


async def acquire(client: Client, holder: str = "pod-1", name: str = "a") -> dict[str, object]:
    async with client.put(f"/v1/leases/{name}", json={"holderIdentity": holder}) as answer:
        assert answer.status == 201
        return dict(await answer.json())


async def release(client: Client, term: dict[str, object]) -> None:
    query = f"holderIdentity={term['holderIdentity']}&token={term['token']}"
    async with client.delete(f"/v1/leases/{term['name']}?{query}") as answer:
        assert answer.status == 204


async def waits(client: Client, store: TableStore, path: str) -> "asyncio.Task[Answer]":
    """A request that has asked PostgreSQL once and waits now."""
    before = store.calls.count("read_some")
    waiting = asyncio.create_task(get(client, path))
    await eventually_async(lambda: store.calls.count("read_some") > before)
    return waiting


async def test_a_long_poll_ends_with_the_change(client: Client, store: TableStore, clock: ManualClock) -> None:
    term = await acquire(client)
    _, index, _ = await get(client, "/v1/leases/a")
    waiting = await waits(client, store, f"/v1/leases/a?index={index}&wait=30s")
    await clock.advance(3.0)
    assert not waiting.done()
    await release(client, term)
    status, after, body = await waiting
    assert (status, body["holderIdentity"]) == (200, None)
    assert int(after) > int(index)


async def test_a_long_poll_with_another_index_answers_at_once(client: Client) -> None:
    await acquire(client)
    assert (await get(client, "/v1/leases/a?index=1"))[0] == 200


async def test_the_end_of_a_term_is_a_change_although_nobody_writes_it(
    client: Client, store: TableStore, clock: ManualClock
) -> None:
    await acquire(client)
    _, index, _ = await get(client, "/v1/leases/a")
    waiting = await waits(client, store, f"/v1/leases/a?index={index}&wait=60s")
    for _ in range(17):
        await clock.advance(1.0)
    _, after, body = await waiting
    assert (int(after), body["validForMs"]) == (int(index) + 1, 0)


async def test_without_a_change_the_wait_ends_with_the_same_index_and_what_time_has_left(
    client: Client, store: TableStore, clock: ManualClock
) -> None:
    await acquire(client)
    _, index, _ = await get(client, "/v1/leases/a")
    waiting = await waits(client, store, f"/v1/leases/a?index={index}&wait=5s")
    await clock.advance(5.0)
    _, after, body = await waiting
    assert (after, body["validForMs"]) == (index, 10_000)


async def test_a_lease_that_nobody_has_held_can_be_waited_for(
    client: Client, store: TableStore, clock: ManualClock
) -> None:
    waiting = await waits(client, store, "/v1/leases/a?index=0&wait=30s")
    await acquire(client)
    assert (await waiting)[2]["holderIdentity"] == "pod-1"
    missing = await waits(client, store, "/v1/leases/b?index=0&wait=1s")
    await clock.advance(1.0)
    assert (await missing)[0] == 404


async def test_postgresql_away_is_not_a_change(client: Client, store: TableStore, clock: ManualClock) -> None:
    await acquire(client)
    _, index, _ = await get(client, "/v1/leases/a")

    def away(call: str) -> None:
        raise LeaseUnavailable("away")

    store.before_doing = away
    waiting = await waits(client, store, f"/v1/leases/a?index={index}&wait=1s")
    await clock.advance(1.1)
    status, _, body = await waiting
    assert (status, body["error"]) == (503, "lease_unavailable")


async def test_no_wait_at_all_is_a_plain_question(client: Client) -> None:
    """What nobody has looked at yet is not missing."""
    await acquire(client)
    _, index, _ = await get(client, "/v1/leases/a")
    assert (await get(client, f"/v1/leases/a?index={index}&wait=0s"))[0] == 200
    assert (await get(client, "/v1/leases/b?index=0&wait=0s"))[0] == 404


async def test_a_list_can_be_waited_for_too(client: Client, clock: ManualClock, store: TableStore) -> None:
    await acquire(client)
    _, index, _ = await get(client, "/v1/leases")
    before = store.calls.count("read_all")
    waiting = asyncio.create_task(get(client, f"/v1/leases?index={index}"))
    await eventually_async(lambda: store.calls.count("read_all") > before)
    await acquire(client, name="b")
    await clock.advance(1.0)
    assert [lease["name"] for lease in (await waiting)[2]["leases"]] == ["a", "b"]  # type: ignore[attr-defined]


async def test_the_number_of_watched_lists_has_a_limit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LIST_WATCHES", 0)
    assert (await get(client, "/v1/leases?index=0"))[2]["error"] == "lease_busy"


async def next_event(answer: object) -> tuple[str, dict[str, object] | None]:
    """The name and data of the next event."""
    name = ""
    while True:
        line = (await answer.content.readline()).decode()  # type: ignore[attr-defined]
        if line.startswith("event: "):
            name = line.removeprefix("event: ").strip()
        if line.startswith("data: "):
            return name, json.loads(line.removeprefix("data: "))


async def test_events_tell_every_state(client: Client, store: TableStore, clock: ManualClock) -> None:
    async with client.get("/v1/leases/a/events") as answer:
        assert await next_event(answer) == ("lease", None)
        term = await acquire(client)
        event, lease = await next_event(answer)
        assert lease is not None
        assert (event, lease["holderIdentity"], lease["validForMs"]) == ("lease", "pod-1", 15_000)
        await release(client, term)
        _, lease = await next_event(answer)
        assert lease is not None
        assert lease["holderIdentity"] is None

        def away(call: str) -> None:
            raise LeaseUnavailable("away")

        store.before_doing = away
        await clock.advance(1.0)
        event, _ = await next_event(answer)
        assert event == "unavailable"


async def test_events_go_on_after_the_last_one_that_was_seen(client: Client) -> None:
    term = await acquire(client)
    async with client.get("/v1/leases/a/events", headers={"Last-Event-ID": "2"}) as answer:
        await release(client, term)
        _, lease = await next_event(answer)
        assert lease is not None
        assert lease["holderIdentity"] is None


@pytest.mark.parametrize(
    ("query", "parsed"),
    [
        ({}, (None, 30.0)),
        ({"index": "7", "wait": "5s"}, (7, 5.0)),
        ({"index": "0", "wait": "1m"}, (0, 60.0)),
        ({"index": "0", "wait": "500ms"}, (0, 0.5)),
        ({"index": "0", "wait": "5"}, (0, 5.0)),
    ],
)
def test_parameters(query: dict[str, str], parsed: tuple[int | None, float]) -> None:
    assert parse_watch(query) == parsed


@pytest.mark.parametrize("query", [{"index": "-1"}, {"index": "x"}, {"wait": "61s"}, {"wait": "1h"}, {"wait": ""}])
def test_bad_parameters(query: dict[str, str]) -> None:
    with pytest.raises(InvalidLease):
        parse_watch(query)


def test_an_empty_page_has_an_index() -> None:
    assert index_of_page([]) == 0
