"""/openapi.json, made from the routes that there really are, so that none can be missing. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Schema = Mapping[str, Any]

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_ERROR: Final = "Error"
_STATUS: Final = {
    200: "Done.",
    201: "Begun.",
    202: "Asked for.",
    204: "Done, or already so.",
    400: "The request is not understood.",
    401: "The admin token is missing.",
    403: "Not allowed.",
    404: "There is none.",
    409: "Certain: it is somebody else's, or over.",
    503: "Nothing is certain, or nothing can be done now; see Retry-After.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What one request takes and answers, beyond what its path tells."""

    query: tuple[str, ...] = ()
    body: Schema | None = None
    stream: bool = False
    """It can answer with server-sent events."""
    admin: bool = False
    answers: Mapping[int, str | None] = field(default_factory=lambda: {200: None})
    """Status to the name of a schema; None: no body, or an error."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    summary: str

    @property
    def key(self) -> str:
        """`GET /v1/leases`."""
        return f"{self.method} {self.path}"


def document(
    routes: Iterable[Route], *, version: str, operations: Mapping[str, Operation], schemas: Mapping[str, Schema]
) -> dict[str, Any]:
    """The whole document (OpenAPI 3.1)."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = operations.get(route.key, Operation())
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "poolguard",
            "version": version,
            "license": {"name": "Apache-2.0"},
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**schemas, _ERROR: _ERROR_SCHEMA},
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer", "description": "auth.admin_token"}},
        },
    }


_ERROR_SCHEMA: Final[Schema] = {
    "type": "object",
    "required": ["error", "message"],
    "properties": {
        "error": {"type": "string", "description": "Stable, for programs."},
        **{key: {"type": "string"} for key in ("message", "detail", "hint")},
    },
}


def _operation(route: Route, operation: Operation) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in operation.query]
    told: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _id(route),
        "parameters": parameters,
        "responses": _responses(operation),
    }
    if operation.body is not None:
        told["requestBody"] = {"content": {"application/json": {"schema": operation.body}}}
    if operation.admin:
        told["security"] = [{"admin": []}]
    return told


def _responses(operation: Operation) -> dict[str, Any]:
    found = {str(status): _response(status, schema) for status, schema in {**operation.answers, 400: None}.items()}
    if operation.stream:
        streamed = found.setdefault("200", {"description": _STATUS[200]})
        streamed.setdefault("content", {})["text/event-stream"] = {"schema": {"type": "string"}}
    return found


def _response(status: int, schema: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {"description": _STATUS.get(status, str(status))}
    name = schema or (_ERROR if status >= 400 else None)
    if name is not None:
        told["content"] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    return told


def _id(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", route.path)
    return "".join([route.method.lower(), *(word[0].upper() + word[1:] for word in words)]) or route.method.lower()
