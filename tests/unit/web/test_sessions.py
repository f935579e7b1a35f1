"""Sessions over HTTP."""

from poolguard.ledger.entries import Phase
from tests.support.snapshots import holder, session
from tests.support.web import Client, Control


async def ids(client: Client, query: str) -> list[int]:
    body = await (await client.get(f"/v1/sessions{query}")).json()
    return [found["id"] for found in body["sessions"]]


async def test_a_session_tells_who_it_is_and_since_when() -> None:
    control = Control()
    entry = holder(control.ledger, application_name="shop")
    async with control.client() as client:
        body = await (await client.get("/v1/sessions")).json()

    assert body == {
        "total": 1,
        "limit": 100,
        "offset": 0,
        "sessions": [
            {
                "id": 1,
                "pool": "app",
                "user": "app",
                "database": "shop",
                "application_name": "shop",
                "client_address": "127.0.0.1:40000",
                "state": "idle_in_transaction",
                "state_seconds": 5.0,
                "connected_seconds": 0.0,
                "transaction": str(entry.transaction_id),
                "backend_pid": 4711,
                "pin": None,
                "lane": None,
                "channels": 0,
            }
        ],
    }


async def test_who_waits_in_a_lane_is_told_with_its_name_and_since_when() -> None:
    control = Control()
    entry = session(control.ledger, phase=Phase.WAITING_IN_LANE, since=990.0)
    entry.lane = "job-pop"
    async with control.client() as client:
        body = await (await client.get("/v1/sessions?state=waiting_in_lane")).json()

    (shown,) = body["sessions"]
    assert (shown["state"], shown["state_seconds"], shown["lane"]) == ("waiting_in_lane", 10.0, "job-pop")


async def test_a_session_that_holds_nothing_has_no_transaction() -> None:
    control = Control()
    session(control.ledger, phase=Phase.IDLE)
    async with control.client() as client:
        body = await (await client.get("/v1/sessions")).json()

    assert (body["sessions"][0]["transaction"], body["sessions"][0]["backend_pid"]) == (None, None)


async def test_filters_are_anded() -> None:
    control = Control()
    session(control.ledger, pool="app", phase=Phase.IDLE)
    session(control.ledger, pool="app", phase=Phase.WAITING)
    session(control.ledger, pool="jobs", phase=Phase.WAITING)
    async with control.client() as client:
        assert await ids(client, "") == [1, 2, 3]
        assert await ids(client, "?pool=app") == [1, 2]
        assert await ids(client, "?state=waiting") == [2, 3]
        assert await ids(client, "?pool=app&state=waiting") == [2]
        assert await ids(client, "?pool=nothing") == []


async def test_a_page_is_cut_out_and_the_total_is_of_all_that_match() -> None:
    control = Control()
    for _ in range(5):
        session(control.ledger)
    async with control.client() as client:
        body = await (await client.get("/v1/sessions?limit=2&offset=3")).json()

    assert [found["id"] for found in body["sessions"]] == [4, 5]
    assert body["total"] == 5


async def test_an_unknown_state_is_refused_with_those_that_there_are() -> None:
    async with Control().client() as client:
        answer = await client.get("/v1/sessions?state=sleeping")
        body = await answer.json()

    assert (answer.status, body["error"]) == (400, "bad_request")
    assert "idle_in_transaction" in body["hint"]


async def test_of_ten_thousand_sessions_only_a_page_is_read_out() -> None:
    control = Control()
    for _ in range(10_000):
        session(control.ledger)
    async with control.client() as client:
        body = await (await client.get("/v1/sessions")).json()

    assert (len(body["sessions"]), body["total"]) == (100, 10_000)
