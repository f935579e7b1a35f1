"""The lease API over HTTP, with the middlewares it runs behind: status codes, bodies, headers."""

import pytest

from poolguard.core.errors import LeaseUnknown
from tests.support.clock import ManualClock
from tests.support.leases import TableStore
from tests.unit.web.conftest import TOKEN, Client

JSON = {"Content-Type": "application/json"}


async def acquire(client: Client, name: str = "a", **body: object) -> tuple[int, dict[str, object]]:
    async with client.put(f"/v1/leases/{name}", json={"holderIdentity": "pod-1", **body}) as answer:
        return answer.status, await answer.json()


async def test_acquire_answers_the_term(client: Client) -> None:
    status, body = await acquire(client, leaseDurationSeconds=20, metadata={"zone": "b"})
    assert status == 201
    assert body == {
        "name": "a",
        "holderIdentity": "pod-1",
        "leaseDurationSeconds": 20,
        "acquireTime": "1970-01-01T00:00:00.000000Z",
        "renewTime": "1970-01-01T00:00:00.000000Z",
        "leaseTransitions": 1,
        "token": (1 << 32) + 1,
        "validForMs": 18_000,
        "metadata": {"zone": "b"},
        "stepDownRequested": False,
    }


async def test_the_default_duration_is_the_settings(client: Client) -> None:
    _, body = await acquire(client)
    assert body["leaseDurationSeconds"] == 15


async def test_the_same_request_again_is_200(client: Client) -> None:
    first = await acquire(client, requestId="r1")
    again = await acquire(client, requestId="r1")
    assert (first[0], again[0]) == (201, 200)
    assert first[1]["token"] == again[1]["token"]


async def test_held_is_409_with_holder_and_time(client: Client) -> None:
    await acquire(client)
    status, body = await acquire(client, holderIdentity="pod-2")
    assert status == 409
    assert (body["error"], body["holderIdentity"], body["validForMs"]) == ("lease_held", "pod-1", 15_000)


async def test_renew_and_lost(client: Client, clock: ManualClock) -> None:
    _, body = await acquire(client)
    await clock.advance(10.0)
    term = {"holderIdentity": "pod-1", "token": body["token"]}
    async with client.post("/v1/leases/a/renew", json=term) as answer:
        assert answer.status == 200
        assert (await answer.json())["validForMs"] == 13_500
    await clock.advance(15.0)
    async with client.post("/v1/leases/a/renew", json=term) as answer:
        assert answer.status == 409
        lost = await answer.json()
    assert (lost["error"], lost["holderIdentity"], lost["validForMs"]) == ("lease_lost", None, 0)


async def test_unknown_is_503_with_retry_after(client: Client, store: TableStore) -> None:
    def no_answer(call: str) -> None:
        raise LeaseUnknown("no answer")

    store.before_doing = no_answer
    async with client.put("/v1/leases/a", json={"holderIdentity": "pod-1"}) as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "1"
        assert (await answer.json())["error"] == "lease_unknown"


async def test_release_is_204_again_too_and_409_for_another_term(client: Client) -> None:
    _, body = await acquire(client)
    old = f"/v1/leases/a?holderIdentity=pod-1&token={body['token']}"
    for _ in range(2):
        async with client.delete(old) as answer:
            assert answer.status == 204
    await acquire(client)
    async with client.delete(old) as answer:
        assert answer.status == 409


async def test_leader_is_200_only_while_trusted(client: Client, clock: ManualClock, store: TableStore) -> None:
    async with client.get("/leader/a") as answer:
        assert answer.status == 503
        assert (await answer.json())["error"] == "not_leader"
    _, body = await acquire(client)
    async with client.get("/leader/a") as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert await answer.json() == {
            "name": "a",
            "holderIdentity": "pod-1",
            "token": body["token"],
            "validForMs": 13_500,
        }
    async with client.head("/leader/a") as answer:
        assert answer.status == 200
    await clock.advance(13.5)
    async with client.head("/leader/a") as answer:
        assert answer.status == 503
    # read_some: what is asked from time to time, to notice that PostgreSQL has gone
    assert set(store.calls) == {"acquire", "read_some"}, "/leader asked PostgreSQL"


async def test_get_list_and_names_with_slashes(client: Client) -> None:
    assert (await acquire(client, "team/a"))[0] == 201
    assert (await acquire(client, "team%2Fb"))[0] == 201
    async with client.get("/v1/leases/team/b") as answer:
        assert (await answer.json())["name"] == "team/b"
    async with client.get("/v1/leases?prefix=team/&limit=1") as answer:
        page = await answer.json()
    assert ([lease["name"] for lease in page["leases"]], page["next"]) == (["team/a"], "team/a")
    async with client.get("/v1/leases?prefix=team/&after=team/a") as answer:
        page = await answer.json()
    assert ([lease["name"] for lease in page["leases"]], page["next"]) == (["team/b"], None)
    async with client.get("/v1/leases/c") as answer:
        assert answer.status == 404
        assert (await answer.json())["error"] == "lease_not_found"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/leases/a", {}),
        ("PUT", "/v1/leases/a", {"holderIdentity": "x", "leaseDurationSeconds": 1}),
        ("PUT", "/v1/leases/a", {"holderIdentity": "x", "leaseDuration": 15}),
        ("PUT", "/v1/leases/a", {"holderIdentity": "x", "metadata": [1]}),
        ("PUT", "/v1/leases/a%20b", {"holderIdentity": "x"}),
        ("PUT", "/v1/leases/a/renew", {"holderIdentity": "x"}),
        ("PUT", "/v1/leases/a", ["holderIdentity"]),
        ("POST", "/v1/leases/a/renew", {"holderIdentity": "x", "token": "7"}),
        ("DELETE", "/v1/leases/a?holderIdentity=x&token=abc", None),
        ("DELETE", "/v1/leases/a?holderIdentity=x", None),
        ("DELETE", "/v1/leases/a?holderIdentity=x&token=1&force=true", None),
        ("GET", "/v1/leases?limit=0", None),
        ("GET", "/v1/leases?limit=201", None),
        ("GET", "/v1/leases?prefix=%00", None),
        ("GET", "/v1/leases?page=2", None),
        ("GET", "/leader/a%20b", None),
    ],
)
async def test_bad_requests_are_400_and_reach_nobody(
    client: Client, store: TableStore, method: str, path: str, body: object
) -> None:
    async with client.request(method, path, json=body, headers=JSON) as answer:
        assert answer.status == 400
        told = await answer.json()
    assert told["error"] == "bad_request"
    assert told["message"]
    assert store.calls == []


async def test_a_page_in_a_browser_can_not_change_a_lease(client: Client) -> None:
    async with client.put(
        "/v1/leases/a", data='{"holderIdentity":"x"}', headers={"Content-Type": "text/plain"}
    ) as answer:
        assert answer.status == 415


async def test_force_release_needs_the_admin_token(client: Client, admin_token: list[str]) -> None:
    await acquire(client)
    async with client.delete("/v1/admin/leases/a") as answer:
        assert answer.status == 401
    async with client.delete("/v1/admin/leases/a", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        assert answer.status == 204
    async with client.delete("/v1/admin/leases/a", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        assert answer.status == 404
    admin_token[0] = ""
    async with client.delete("/v1/admin/leases/a") as answer:
        assert answer.status == 403
        assert "admin_token" in (await answer.json())["hint"]


@pytest.mark.parametrize("query", ["actor=", "actor=" + "a" * 65, "reason=%0a", "reason=" + "a" * 501, "why=so"])
async def test_what_is_told_of_a_force_release_has_limits(client: Client, store: TableStore, query: str) -> None:
    async with client.delete(f"/v1/admin/leases/a?{query}", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        assert answer.status == 400
    assert store.calls == []


async def test_slots_are_leases_of_their_own(client: Client) -> None:
    names = []
    for number in range(3):
        status, body = await acquire(client, "w", holderIdentity=f"pod-{number}", slots=2)
        names.append((status, body.get("name")))
    assert names == [(201, "w/0"), (201, "w/1"), (409, None)]
    async with client.get("/leader/w/1") as answer:
        assert (await answer.json())["holderIdentity"] == "pod-1"


async def test_a_renewal_can_replace_the_metadata(client: Client) -> None:
    _, body = await acquire(client, metadata={"address": "old"})
    term = {"holderIdentity": "pod-1", "token": body["token"]}
    async with client.post("/v1/leases/a/renew", json={**term, "metadata": {"address": "new"}}) as answer:
        assert (await answer.json())["metadata"] == {"address": "new"}
    async with client.post("/v1/leases/a/renew", json=term) as answer:
        assert (await answer.json())["metadata"] == {"address": "new"}
