"""Campaigns over HTTP: heartbeats, streams, step-downs."""

import asyncio

import pytest

from tests.support.clock import ManualClock
from tests.support.eventually import eventually_async
from tests.support.leases import TableStore
from tests.unit.web.conftest import Client
from tests.unit.web.test_lease_watching import next_event

EVENTS = {"Accept": "text/event-stream"}


async def post(client: Client, path: str, **body: object) -> tuple[int, dict[str, object]]:
    async with client.post(path, json=body) as answer:
        return answer.status, await answer.json()


async def beat(client: Client, request_id: str = "c1", holder: str = "pod-1") -> tuple[int, dict[str, object]]:
    return await post(client, "/v1/elections/a/campaign", holderIdentity=holder, requestId=request_id)


async def leading(client: Client, request_id: str = "c1", holder: str = "pod-1") -> dict[str, object]:
    async def told() -> dict[str, object] | None:
        _, view = await beat(client, request_id, holder)
        return view if view["phase"] == "leading" else None

    view = await eventually_async(told)
    assert view is not None
    return view


async def test_heartbeats_begin_a_campaign_and_tell_how_it_stands(client: Client, clock: ManualClock) -> None:
    status, view = await beat(client)
    assert status == 201
    assert (view["name"], view["holderIdentity"], view["requestId"]) == ("a", "pod-1", "c1")
    view = await leading(client)
    assert (view["lease"], view["validForMs"], view["leader"], view["reason"]) == ("a", 13_500, "pod-1", None)
    async with client.get("/leader/a") as answer:
        assert answer.status == 200
        assert (await answer.json())["token"] == view["token"]
    async with client.get("/v1/elections") as answer:
        assert [one["requestId"] for one in (await answer.json())["campaigns"]] == ["c1"]


async def test_another_campaign_waits_and_knows_who_leads(client: Client) -> None:
    await leading(client)
    await beat(client, "c2", "pod-2")

    async def waiting() -> bool:
        _, view = await beat(client, "c2", "pod-2")
        return (view["phase"], view["leader"], view["token"], view["validForMs"]) == ("waiting", "pod-1", None, 0)

    assert await eventually_async(waiting)


async def test_withdrawing_releases_and_may_be_repeated(client: Client) -> None:
    await leading(client)
    for _ in range(2):
        async with client.delete("/v1/elections/a/campaign?requestId=c1") as answer:
            assert answer.status == 204
    async with client.get("/v1/leases/a") as answer:
        assert (await answer.json())["holderIdentity"] is None


async def test_a_stream_tells_each_phase_and_its_end(client: Client, clock: ManualClock) -> None:
    body = {"holderIdentity": "pod-1", "requestId": "c1"}
    async with client.post("/v1/elections/a/campaign", json=body, headers=EVENTS) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        event, view = await next_event(answer)
        while event == "waiting":
            event, view = await next_event(answer)
        assert view is not None
        assert (event, view["phase"], view["validForMs"]) == ("leading", "leading", 13_500)
        await clock.advance(5.0)
        event, view = await next_event(answer)
        assert (event, view and view["validForMs"]) == ("leading", 13_500), "each renewal tells anew how long"
        async with client.delete("/v1/elections/a/campaign?requestId=c1"):
            pass
        event, view = await next_event(answer)
        while event == "waiting":
            event, view = await next_event(answer)
        assert (event, view and view["reason"]) == ("ended", "withdrawn")
        assert (await answer.content.read()).strip() == b"", "the stream ends with the campaign"


async def test_a_stream_that_breaks_leaves_the_campaign_to_its_liveness(client: Client, clock: ManualClock) -> None:
    body = {"holderIdentity": "pod-1", "requestId": "c1", "livenessSeconds": 5}
    answer = await client.post("/v1/elections/a/campaign", json=body, headers=EVENTS)
    event = ""
    while event != "leading":
        event, _ = await next_event(answer)
    for _ in range(8):
        await clock.advance(1.0)
    async with client.get("/leader/a") as leader:
        assert leader.status == 200
    answer.close()
    await asyncio.sleep(0)

    async def over() -> bool:
        await clock.advance(1.0)
        async with client.get("/leader/a") as leader:
            return leader.status == 503

    assert await eventually_async(over)


async def test_step_down_here_is_200_and_elsewhere_202(client: Client, store: TableStore) -> None:
    await leading(client)
    status, lease = await post(client, "/v1/elections/a/step-down", holdOffSeconds=30)
    assert (status, lease["holderIdentity"]) == (200, None)
    async with client.put("/v1/leases/a", json={"holderIdentity": "pod-2"}) as answer:
        assert answer.status == 201
    status, lease = await post(client, "/v1/elections/a/step-down")
    assert (status, lease["holderIdentity"], lease["stepDownRequested"]) == (202, "pod-2", True)
    assert (await post(client, "/v1/elections/b/step-down"))[0] == 404


async def test_who_is_held_off_is_told_for_how_long(client: Client) -> None:
    await leading(client)
    await post(client, "/v1/elections/a/step-down", holdOffSeconds=30)
    async with client.put("/v1/leases/a", json={"holderIdentity": "pod-1"}) as answer:
        body = await answer.json()
        assert (answer.status, body["error"], body["validForMs"]) == (409, "lease_held_off", 30_000)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("campaign", {}),
        ("campaign", {"holderIdentity": "x", "slots": 99}),
        ("campaign", {"holderIdentity": "x", "ttl": 5}),
        ("step-down", {"holdOffSeconds": "5"}),
        ("step-down", {"force": True}),
    ],
)
async def test_bad_requests_are_400(client: Client, store: TableStore, path: str, body: dict[str, object]) -> None:
    status, told = await post(client, f"/v1/elections/a/{path}", **body)
    assert (status, told["error"]) == (400, "bad_request")
    assert store.calls == []
