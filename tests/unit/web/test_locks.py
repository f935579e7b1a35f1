"""GET /v1/locks."""

from poolguard.guard.locks.graph import LockGraph
from tests.support.web import Control
from tests.unit.guard.locks.builders import backend, graph_of, wait


def blocked() -> Control:
    control = Control()
    control.locks.connected = True
    control.locks.publish(
        graph_of([wait(2, 1, seconds=3)], backend(1, "idle in transaction", application_name="worker")), 60.0
    )
    return control


async def test_trees_come_as_json_with_what_may_be_seen() -> None:
    async with blocked().client() as client:
        answer = await (await client.get("/v1/locks")).json()
    assert (answer["connected"], answer["privilege_tier"], answer["waiters"]) == (True, "unknown", 1)
    assert answer["time"] == "1970-01-01T00:01:00.000Z"
    assert [tree["root"]["application_name"] for tree in answer["trees"]] == ["worker"]
    assert "history" not in answer


async def test_trees_that_are_over_come_when_they_are_asked_for() -> None:
    control = blocked()
    control.locks.publish(LockGraph(), 61.0)
    async with control.client() as client:
        answer = await (await client.get("/v1/locks?history=true")).json()
    assert answer["trees"] == []
    (seen,) = answer["history"]
    assert (seen["first_time"], seen["root"]["pid"]) == ("1970-01-01T00:01:00.000Z", 1)


async def test_a_terminal_gets_what_is_over_too_when_it_asks() -> None:
    control = blocked()
    control.locks.publish(LockGraph(), 61.0)
    async with control.client() as client:
        drawn = await (await client.get("/v1/locks?format=text&history=true")).text()
    assert drawn.startswith("Nobody waits for a lock.\n\n1970-01-01T00:01:00.000Z to 1970-01-01T00:01:00.000Z, at its")
    assert 'pid 1 ("worker", client backend): idle in transaction' in drawn
    assert drawn.endswith("\n")


async def test_where_nobody_ever_waited_the_text_says_that_of_the_past() -> None:
    control = Control()
    control.locks.connected = True
    async with control.client() as client:
        drawn = await (await client.get("/v1/locks?format=text&history=true")).text()
    assert drawn.splitlines() == ["Nobody waits for a lock.", "", "Nobody was seen waiting for a lock since the start."]


async def test_a_terminal_gets_text() -> None:
    async with blocked().client() as client:
        by_parameter = await (await client.get("/v1/locks?format=text")).text()
        by_header = await (await client.get("/v1/locks", headers={"Accept": "text/plain"})).text()
    assert by_parameter == by_header
    assert by_parameter.startswith('pid 1 ("worker", client backend): idle in transaction')


async def test_without_a_connection_the_text_says_so() -> None:
    async with Control().client() as client:
        assert "not connected" in await (await client.get("/v1/locks?format=text")).text()


async def test_a_format_that_there_is_not_is_refused() -> None:
    async with Control().client() as client:
        answer = await client.get("/v1/locks?format=svg")
        assert answer.status == 400
        assert "json, text" in await answer.text()
