"""/openapi.json has every route and nothing else, and says of leases what the handlers take and answer."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from poolguard.lease.campaigns import Campaigns
from poolguard.lease.manager import LeaseManager
from poolguard.settings.model import Leases
from poolguard.web import election_schemas, lease_schemas
from poolguard.web.elections import election_routes
from poolguard.web.leases import lease_routes
from poolguard.web.openapi import Operation, Route, document
from tests.support.clock import ManualClock
from tests.support.leases import Table, TableStore
from tests.support.web import Client, Control


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """The control application with the lease API in it."""
    clock = ManualClock()
    manager = LeaseManager(TableStore(Table(), clock), Leases(), clock)
    await manager.start()
    campaigns = Campaigns(manager, clock)
    routes = [*lease_routes(manager, clock, admin_token=lambda: ""), *election_routes(campaigns, clock)]
    async with Control(routes=routes).client() as made:
        yield made
    await campaigns.stop()
    await manager.stop()


@pytest.fixture
async def told(client: Client) -> Any:
    async with client.get("/openapi.json") as answer:
        assert answer.status == 200
        return await answer.json()


async def test_every_route_is_in_it_and_nothing_else(client: Client, told: Any) -> None:
    async with client.get("/") as answer:
        paths = (await answer.json())["paths"]
    assert {path: sorted(methods) for path, methods in paths.items()} == {
        path: sorted(method.upper() for method in methods) for path, methods in told["paths"].items()
    }


async def test_every_operation_has_a_summary_its_path_parameters_and_an_id_of_its_own(told: Any) -> None:
    ids = []
    for path, methods in told["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
            ids.append(operation["operationId"])
    assert len(ids) == len(set(ids))


async def test_what_is_said_of_leases_belongs_to_routes_that_there_are(told: Any) -> None:
    from poolguard.web.lease_operations import OPERATIONS

    there = {f"{method.upper()} {path}" for path, methods in told["paths"].items() for method in methods}
    assert set(OPERATIONS) <= there
    about = {key for key in there if re.search(r"/(leases|elections|leader)\b", key)}
    assert about == set(OPERATIONS)


@pytest.mark.parametrize(
    ("path", "method", "keys"),
    [
        ("/v1/leases/{name}", "put", lease_schemas.ACQUIRE_KEYS),
        ("/v1/leases/{name}/renew", "post", lease_schemas.RENEW_KEYS),
        ("/v1/elections/{name}/campaign", "post", election_schemas.CAMPAIGN_KEYS),
        ("/v1/elections/{name}/step-down", "post", election_schemas.STEP_DOWN_KEYS),
    ],
)
async def test_bodies_have_the_keys_that_are_read(told: Any, path: str, method: str, keys: tuple[str, ...]) -> None:
    schema = told["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == set(keys)


async def test_answers_have_the_keys_that_are_said(client: Client, told: Any) -> None:
    schemas = told["components"]["schemas"]

    async def compare(schema: str, method: str, path: str, **body: object) -> dict[str, Any]:
        async with client.request(method, path, json=body or None) as answer:
            shown: dict[str, Any] = await answer.json()
            assert answer.status in {200, 201}, shown
        assert set(shown) == set(schemas[schema]["properties"])
        assert set(schemas[schema]["required"]) <= set(shown)
        return shown

    await compare("Lease", "PUT", "/v1/leases/a", holderIdentity="pod-1")
    await compare("Lease", "GET", "/v1/leases/a")
    await compare("Leases", "GET", "/v1/leases")
    await compare("Leader", "GET", "/leader/a")
    await compare("Campaign", "POST", "/v1/elections/b/campaign", holderIdentity="pod-1")
    await compare("Campaigns", "GET", "/v1/elections")


def test_what_has_no_details_is_told_all_the_same() -> None:
    made = document([Route("GET", "/x/{id}", "An x")], version="1", operations={}, schemas={})
    operation = made["paths"]["/x/{id}"]["get"]
    assert (operation["summary"], operation["operationId"]) == ("An x", "getXId")
    assert set(operation["responses"]) == {"200", "400"}


def test_streams_and_admin_are_told() -> None:
    operations = {"GET /x": Operation(stream=True, admin=True, answers={503: None})}
    operation = document([Route("GET", "/x", "X")], version="1", operations=operations, schemas={})["paths"]["/x"][
        "get"
    ]
    assert list(operation["responses"]["200"]["content"]) == ["text/event-stream"]
    assert operation["security"] == [{"admin": []}]
