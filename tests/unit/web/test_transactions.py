"""Transactions over HTTP, and what a person can do to them."""

import pytest

from poolguard.guard.history import Action
from poolguard.ledger.entries import Phase
from poolguard.settings.model import Privacy, Settings
from poolguard.wire.fingerprint import fingerprint
from tests.support.snapshots import holder, session
from tests.support.web import JSON, Client, Control


async def sessions(client: Client, query: str) -> list[int]:
    body = await (await client.get(f"/v1/transactions{query}")).json()
    return [found["session"] for found in body["transactions"]]


async def test_only_what_holds_a_server_is_there_oldest_first() -> None:
    control = Control()
    session(control.ledger)
    holder(control.ledger, began_at=995.0)
    holder(control.ledger, began_at=990.0)
    async with control.client() as client:
        assert await sessions(client, "") == [3, 2]


async def test_filters_are_anded() -> None:
    control = Control()
    holder(control.ledger, pool="app", application_name="shop")
    holder(control.ledger, pool="app", application_name="report", phase=Phase.ACTIVE)
    holder(control.ledger, pool="jobs", application_name="shop")
    async with control.client() as client:
        assert await sessions(client, "?pool=app") == [1, 2]
        assert await sessions(client, "?application_name=shop&pool=jobs") == [3]
        assert await sessions(client, "?state=active") == [2]
        assert await sessions(client, "?limit=1&offset=1") == [2]


async def test_statements_are_shown_without_their_literals() -> None:
    control = Control()
    entry = holder(control.ledger, statements=(b"update a set b = 'hunter2'", b"select 4711 as secret"))
    async with control.client() as client:
        text = await (await client.get("/v1/transactions")).text()
        found = await (await client.get(f"/v1/transactions/{entry.transaction_id}")).json()

    for shown in (text, str(found)):
        assert "hunter2" not in shown
        assert "select 4711" not in shown
    assert found["statements"] == 2
    assert len(found["recent_statements"]) == 2
    assert found["statement"] == found["recent_statements"][-1]
    assert len(found["statement"]["fingerprint"]) == 16


async def test_one_transaction_is_found_by_its_id_while_it_lasts() -> None:
    control = Control()
    entry = holder(control.ledger)
    async with control.client() as client:
        found = await client.get(f"/v1/transactions/{entry.transaction_id}")
        entry.checkout += 1
        over = await client.get("/v1/transactions/1-1")

    assert (found.status, over.status) == (200, 404)


@pytest.mark.parametrize("action", [Action.CANCEL, Action.ROLLBACK, Action.TERMINATE])
async def test_an_action_names_the_checkout_and_who_asked(action: Action) -> None:
    control = Control()
    entry = holder(control.ledger)
    path = f"/v1/transactions/{entry.transaction_id}/{action}"
    async with control.client() as client:
        answer = await client.post(path, json={"actor": "alice"})
        body = await answer.json()

    assert control.guard.done == [(entry.transaction_id, action, "alice (127.0.0.1)")]
    assert (answer.status, body["action"], body["outcome"]) == (200, action.value, "done")


async def test_a_body_is_not_needed() -> None:
    control = Control()
    entry = holder(control.ledger)
    async with control.client() as client:
        answer = await client.post(f"/v1/transactions/{entry.transaction_id}/cancel", headers=JSON)

    assert answer.status == 200
    assert control.guard.done[0][2] == "http (127.0.0.1)"


async def test_a_warning_is_no_action_of_a_person() -> None:
    control = Control()
    entry = holder(control.ledger)
    async with control.client() as client:
        answer = await client.post(f"/v1/transactions/{entry.transaction_id}/warn", headers=JSON)

    assert answer.status == 404


async def test_acting_on_a_transaction_that_is_over_is_404() -> None:
    async with Control().client() as client:
        answer = await client.post("/v1/transactions/1-1/cancel", headers=JSON)

    assert answer.status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"actr": "alice"}',
        b'{"actor": ""}',
        b'{"actor": 7}',
        b'{"actor": "a\\nb"}',
        b'{"actor": "%s"}' % (b"x" * 65),
        b"[" * 60_000,
    ],
)
async def test_a_body_that_is_not_understood_does_nothing(body: bytes) -> None:
    control = Control()
    entry = holder(control.ledger)
    async with control.client() as client:
        answer = await client.post(f"/v1/transactions/{entry.transaction_id}/terminate", data=body, headers=JSON)
        told = await answer.json()

    assert (answer.status, told["error"]) == (400, "bad_request")
    assert control.guard.done == []


@pytest.mark.parametrize("name", ["12", "1-", "-1", "a-b", "1-2-3", "1-²"])
async def test_an_id_that_is_none_is_refused(name: str) -> None:
    async with Control().client() as client:
        answer = await client.post(f"/v1/transactions/{name}/cancel", headers=JSON)

    assert answer.status == 400


async def test_explain_says_what_the_policy_says_and_404_when_it_is_over() -> None:
    control = Control()
    entry = holder(control.ledger, statements=(b"select 'hunter2'",))
    async with control.client() as client:
        answer = await client.get(f"/v1/transactions/{entry.transaction_id}/explain")
        told = await answer.text()
        assert answer.status == 200
        assert {rule["rule"] for rule in (await answer.json())["rules"]} >= {"idle_in_transaction", "checkout_age"}
        assert "hunter2" not in told
        assert (await client.get("/v1/transactions/99-1/explain")).status == 404


async def test_one_transaction_shows_what_its_statements_say() -> None:
    control = Control()
    entry = holder(control.ledger, statements=(b"update t set a = 'hunter2'",))
    async with control.client() as client:
        answer = await client.get(f"/v1/transactions/{entry.transaction_id}")
        traits = (await answer.json())["traits"]
        assert (traits["wrote"], traits["classes"]) == (True, ["write"])
        assert "hunter2" not in await answer.text()


async def test_where_texts_are_not_to_be_shown_the_fingerprint_stands_for_them() -> None:
    control = Control()
    control.settings.settings = Settings(privacy=Privacy(statement_text=False))
    held = holder(control.ledger, statements=(b"SELECT secret FROM a", b"UPDATE a SET secret = 1"))
    async with control.client() as client:
        paths = ("/v1/transactions", f"/v1/transactions/{held.transaction_id}")
        texts = [await (await client.get(path)).text() for path in paths]
    for text in texts:
        assert "secret" not in text
        assert fingerprint(b"UPDATE a SET secret = 1").id in text
