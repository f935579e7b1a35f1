"""The two applications hold together: every route is there, and each only where it belongs."""

import re
from pathlib import Path

from tests.support.web import Control

DOCS = Path(__file__).parents[3] / "docs" / "http.md"

CONTRACT = {
    "GET /",
    "GET /openapi.json",
    "GET /page/{name}",
    "GET /v1/events",
    "GET /v1/pools",
    "GET /v1/pools/{name}",
    "GET /v1/sessions",
    "GET /v1/transactions",
    "GET /v1/transactions/{id}",
    "GET /v1/transactions/{id}/explain",
    "POST /v1/transactions/{id}/{action}",
    "GET /v1/incidents",
    "GET /v1/incidents/{id}",
    "GET /v1/locks",
    "GET /v1/errors",
    "GET /v1/clients",
    "GET /v1/settings",
}


async def routes() -> set[str]:
    async with Control().client() as client:
        paths = (await (await client.get("/")).json())["paths"]
    return {f"{method} {path}" for path, methods in paths.items() for method in methods}


async def test_the_control_listener_has_the_routes_of_the_contract() -> None:
    assert await routes() == CONTRACT


async def test_every_route_is_in_the_docs() -> None:
    documented = set(re.findall(r"`((?:GET|POST) /[^`?]*)", DOCS.read_text(encoding="utf-8")))

    assert await routes() <= documented


async def test_head_works_where_get_does() -> None:
    async with Control().client() as client:
        answer = await client.head("/v1/pools")

        assert (answer.status, await answer.read()) == (200, b"")
