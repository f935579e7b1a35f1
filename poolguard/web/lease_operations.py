"""What requests about leases take and answer, for /openapi.json. Pure; a test compares it with the handlers."""

from collections.abc import Mapping
from typing import Final

from poolguard.lease import terms
from poolguard.web.openapi import Operation, Schema

_HOLDER: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 256,
    "description": "Who holds it.",
}
_TTL: Final[Schema] = {
    "type": "number",
    "minimum": terms.MIN_TTL_SECONDS,
    "maximum": terms.MAX_TTL_SECONDS,
    "description": "leases.default_ttl if left out.",
}
_TOKEN: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": terms.MAX_TOKEN}
_REQUEST_ID: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"}
_METADATA: Final[Schema] = {"type": "object", "description": f"At most {terms.MAX_METADATA_BYTES} bytes as JSON."}
_SLOTS: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": terms.MAX_SLOTS, "default": 1}
_VALID: Final[Schema] = {
    "type": "integer",
    "minimum": 0,
    "description": "Milliseconds, from when it was asked.",
}
_TIME: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _nullable(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


SCHEMAS: Final[Mapping[str, Schema]] = {
    "Lease": _object(
        ("name", "holderIdentity", "token", "validForMs"),
        name={"type": "string"},
        holderIdentity=_nullable(_HOLDER),
        leaseDurationSeconds=_TTL,
        acquireTime=_TIME,
        renewTime=_TIME,
        leaseTransitions={"type": "integer"},
        token={"type": "integer"},
        validForMs=_VALID,
        metadata=_nullable(_METADATA),
        stepDownRequested={"type": "boolean"},
    ),
    "Leases": _object(
        ("leases", "next"),
        leases={"type": "array", "items": {"$ref": "#/components/schemas/Lease"}},
        next={"type": ["string", "null"]},
    ),
    "Leader": _object(
        ("name", "holderIdentity", "token", "validForMs"),
        name={"type": "string"},
        holderIdentity=_HOLDER,
        token=_TOKEN,
        validForMs=_VALID,
    ),
    "Campaign": _object(
        ("name", "holderIdentity", "requestId", "phase", "token", "validForMs"),
        name={"type": "string"},
        holderIdentity=_HOLDER,
        requestId=_REQUEST_ID,
        phase={"type": "string", "enum": ["waiting", "leading", "ended"]},
        reason={"type": ["string", "null"], "enum": ["withdrawn", "unproven", "stopping", None]},
        lease={"type": ["string", "null"]},
        token=_nullable(_TOKEN),
        validForMs=_VALID,
        leaseDurationSeconds=_TTL,
        livenessSeconds={"type": "number"},
        leader={"type": ["string", "null"]},
        leaderMetadata=_nullable(_METADATA),
    ),
    "Campaigns": _object(
        ("campaigns",), campaigns={"type": "array", "items": {"$ref": "#/components/schemas/Campaign"}}
    ),
}

_WATCH: Final = ("index", "wait")

OPERATIONS: Final[Mapping[str, Operation]] = {
    "GET /v1/leases": Operation(query=("after", "prefix", "limit", *_WATCH), answers={200: "Leases", 503: None}),
    "GET /v1/leases/{name}": Operation(query=_WATCH, answers={200: "Lease", 404: None, 503: None}),
    "GET /v1/leases/{name}/events": Operation(stream=True, answers={503: None}),
    "PUT /v1/leases/{name}": Operation(
        body=_object(
            ("holderIdentity",),
            holderIdentity=_HOLDER,
            leaseDurationSeconds=_TTL,
            requestId=_REQUEST_ID,
            metadata=_METADATA,
            slots=_SLOTS,
        ),
        answers={200: "Lease", 201: "Lease", 409: None, 503: None},
    ),
    "POST /v1/leases/{name}/renew": Operation(
        body=_object(("holderIdentity", "token"), holderIdentity=_HOLDER, token=_TOKEN, metadata=_METADATA),
        answers={200: "Lease", 409: None, 503: None},
    ),
    "DELETE /v1/leases/{name}": Operation(
        query=("holderIdentity", "token"), answers={204: None, 404: None, 409: None, 503: None}
    ),
    "GET /leader/{name}": Operation(answers={200: "Leader", 503: None}),
    "DELETE /v1/admin/leases/{name}": Operation(
        admin=True, query=("actor", "reason"), answers={204: None, 401: None, 403: None, 404: None, 503: None}
    ),
    "GET /v1/elections": Operation(answers={200: "Campaigns"}),
    "POST /v1/elections/{name}/campaign": Operation(
        body=_object(
            ("holderIdentity",),
            holderIdentity=_HOLDER,
            leaseDurationSeconds=_TTL,
            requestId=_REQUEST_ID,
            metadata=_METADATA,
            slots=_SLOTS,
            livenessSeconds={"type": "number", "minimum": 1, "maximum": 3600},
            checkPid={"type": "integer", "minimum": 2},
            checkUrl={"type": "string", "description": "Plain HTTP to this machine."},
        ),
        stream=True,
        answers={200: "Campaign", 201: "Campaign", 503: None},
    ),
    "DELETE /v1/elections/{name}/campaign": Operation(query=("requestId",), answers={204: None}),
    "POST /v1/elections/{name}/step-down": Operation(
        body=_object(
            holdOffSeconds={"type": "number", "minimum": 0, "maximum": terms.MAX_HOLD_OFF_SECONDS},
            preferredHolder=_HOLDER,
        ),
        answers={200: "Lease", 202: "Lease", 404: None, 503: None},
    ),
}
