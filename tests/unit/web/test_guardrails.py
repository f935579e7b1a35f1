"""No page in a browser can act here, and ending transactions needs the token where one is set."""

from dataclasses import replace

import pytest
from aiohttp import web

from poolguard.core.errors import PoolguardError
from poolguard.web.guardrails import ForeignPage, Incoming, NotJson, TokenMissing, TokenWrong, check
from poolguard.web.hosts import OwnNames, WrongHost
from tests.support.snapshots import holder
from tests.support.web import JSON, Control

NAMES = OwnNames("127.0.0.1")
READ = Incoming(
    method="GET",
    path="/v1/pools",
    host="127.0.0.1:6433",
    origin=None,
    fetch_site=None,
    content_type="",
    has_body=False,
    authorization=None,
)
ACT = replace(READ, method="POST", path="/v1/transactions/{id}/{action}", content_type="application/json")
LEASE = replace(ACT, method="PUT", path="/v1/leases/{name}", has_body=True)
RELEASE = replace(READ, method="DELETE", path="/v1/leases/{name}")


@pytest.mark.parametrize("request_", [READ, ACT, LEASE, RELEASE])
def test_a_plain_request_comes_in(request_: Incoming) -> None:
    check(request_, NAMES, "")


@pytest.mark.parametrize("request_", [READ, ACT, LEASE, RELEASE])
def test_a_name_that_is_not_ours_is_turned_away_even_for_reading(request_: Incoming) -> None:
    with pytest.raises(WrongHost):
        check(replace(request_, host="evil.example:6433"), NAMES, "")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_what_a_foreign_form_can_send_changes_nothing(content_type: str) -> None:
    with pytest.raises(NotJson):
        check(replace(ACT, content_type=content_type), NAMES, "")


def test_what_has_no_handler_need_not_be_json_but_must_still_come_from_us() -> None:
    nowhere = replace(ACT, content_type="", exists=False)
    check(nowhere, NAMES, "token")
    with pytest.raises(ForeignPage):
        check(replace(nowhere, origin="https://evil.example"), NAMES, "")


@pytest.mark.parametrize("token", ["", "secret"])
@pytest.mark.parametrize(("method", "path", "status"), [("PATCH", "/v1/pools", 405), ("POST", "/v1/nothing", 404)])
async def test_a_method_that_a_path_has_not_is_told_before_its_type(
    method: str, path: str, status: int, token: str
) -> None:
    async with Control(admin_token=token).client() as http:
        answer = await http.request(method, path)
        assert answer.status == status, await answer.text()


def test_a_delete_with_a_body_must_be_json() -> None:
    with pytest.raises(NotJson):
        check(replace(RELEASE, has_body=True), NAMES, "")


@pytest.mark.parametrize(
    "signs",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:3000"},
        {"fetch_site": "cross-site"},
        {"fetch_site": "same-site"},
    ],
)
@pytest.mark.parametrize("request_", [ACT, LEASE, RELEASE])
def test_a_foreign_page_changes_nothing(request_: Incoming, signs: dict[str, str]) -> None:
    with pytest.raises(ForeignPage):
        check(replace(request_, **signs), NAMES, "")  # type: ignore[arg-type] # all of them are texts


def test_our_own_page_may_act() -> None:
    check(replace(ACT, origin="http://127.0.0.1:6433", fetch_site="same-origin"), NAMES, "")


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic c2VjcmV0", "secret"])
def test_without_a_token_the_answer_is_who_are_you(authorization: str | None) -> None:
    with pytest.raises(TokenMissing) as raised:
        check(replace(ACT, authorization=authorization), NAMES, "secret")
    assert raised.value.http_status == 401


@pytest.mark.parametrize("token", ["wrong", "secre", "secretx", "SECRET", "\udcff"])
def test_a_wrong_token_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(TokenWrong) as raised:
        check(replace(ACT, authorization=f"Bearer {token}"), NAMES, "secret")
    assert raised.value.http_status == 403
    assert "secret" not in f"{raised.value.message}{raised.value.detail}{raised.value.hint}"


def test_the_right_token_comes_in() -> None:
    check(replace(ACT, authorization="bearer secret"), NAMES, "secret")


@pytest.mark.parametrize("request_", [READ, LEASE, RELEASE])
def test_reading_and_leases_need_no_token(request_: Incoming) -> None:
    check(request_, NAMES, "secret")


def test_force_release_needs_the_token() -> None:
    with pytest.raises(TokenMissing):
        check(replace(RELEASE, path="/v1/admin/leases/{name}"), NAMES, "secret")


async def test_a_path_in_disguise_needs_the_token_too() -> None:
    control = Control(admin_token="secret")
    entry = holder(control.ledger)
    async with control.client() as client:
        answer = await client.post(f"/v1/%74ransactions/{entry.transaction_id}/terminate", headers=JSON)

    assert answer.status == 401
    assert control.guard.done == []


async def test_a_refused_request_says_so_in_json_and_reaches_no_handler() -> None:
    control = Control()
    entry = holder(control.ledger)
    path = f"/v1/transactions/{entry.transaction_id}/terminate"
    async with control.client() as client:
        wrong_host = await client.post(path, headers={**JSON, "Host": "evil.example"})
        form = await client.post(path, data={"a": "b"})
        told = await wrong_host.json()

    assert (wrong_host.status, told["error"]) == (421, "wrong_host")
    assert "localhost" in told["hint"]
    assert form.status == 415
    assert control.guard.done == []


async def test_a_token_changed_by_a_reload_holds_at_once() -> None:
    control = Control()
    entry = holder(control.ledger)
    path = f"/v1/transactions/{entry.transaction_id}/cancel"
    async with control.client() as client:
        before = await client.post(path, headers=JSON)
        control.settings.settings = Control(admin_token="new").settings.settings
        after = await client.post(path, headers=JSON)

    assert (before.status, after.status) == (200, 401)
    assert after.headers["WWW-Authenticate"] == "Bearer"


async def test_routes_of_other_parts_are_guarded_alike() -> None:
    async def handler(_: web.Request) -> web.Response:
        raise PoolguardError("reached")

    async with Control(routes=[web.put("/v1/leases/{name}", handler)]).client() as client:
        plain = await client.put("/v1/leases/a", data=b"{}")
        json = await client.put("/v1/leases/a", data=b"{}", headers=JSON)

    assert (plain.status, json.status) == (415, 500)
