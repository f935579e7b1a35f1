"""Transactions as the API showed them once, made into cases again, so that any policy can judge them. Pure.

A snapshot is the JSON of GET /v1/transactions, or what `poolguard policy record` writes: the same with the pools and
with what the statements said. Statements are recorded without literals and comments; so an exemption by comment can't
be seen.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from poolguard.core.errors import ClientViolation
from poolguard.core.ids import TransactionId
from poolguard.guard.case import Case
from poolguard.guard.incidents import PoolState
from poolguard.guard.traits import Traits
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from poolguard.wire.classes import StatementClass

Json: TypeAlias = Mapping[str, Any]

MOST_TRANSACTIONS: Final = 10_000


class BadSnapshot(ClientViolation):
    """It is not what the API shows."""

    code = "bad_snapshot"


def read_snapshot(snapshot: object) -> list[Case]:
    """The cases in *snapshot*. Raises BadSnapshot, with the place."""
    if not isinstance(snapshot, dict) or not isinstance(snapshot.get("transactions"), list):
        raise BadSnapshot("a snapshot is a JSON object with a list named transactions", hint=_HINT)
    found = snapshot["transactions"]
    if len(found) > MOST_TRANSACTIONS:
        raise BadSnapshot(f"more than {MOST_TRANSACTIONS} transactions")
    pools: dict[str, PoolState] = {}
    for index, pool in enumerate(snapshot.get("pools", ())):
        pools[str(_read(f"pools[{index}]", lambda pool=pool: pool["name"]))] = _read(
            f"pools[{index}]", lambda pool=pool: _pool_state(pool)
        )
    cases: list[Case] = []
    for index, one in enumerate(found):
        transaction = _read(f"transactions[{index}]", lambda one=one: _transaction(one))
        traits = _read(f"transactions[{index}].traits", lambda one=one: _traits(one.get("traits")))
        cases.append(Case(transaction, pools.get(transaction.pool), traits))
    return cases


_HINT: Final = "Write one with `poolguard policy record`, or with GET /v1/transactions."


def _read(where: str, read: Any) -> Any:
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise BadSnapshot(f"{where} is not as the API shows it ({what[:200]})", hint=_HINT) from None


def _transaction(one: Json) -> Transaction:
    recent = tuple(_text(statement) for statement in one.get("recent_statements") or ())
    return Transaction(
        id=TransactionId.parse(one["id"]),
        pool=one["pool"],
        user=one["user"],
        database=one["database"],
        application_name=one["application_name"],
        client_address=one["client_address"],
        backend_pid=int(one["backend_pid"] or 0),
        phase=Phase[one["state"].upper()],
        phase_seconds=float(one["state_seconds"]),
        transaction_seconds=float(one["transaction_seconds"]),
        statement_seconds=float(one["statement_seconds"]),
        checkout_seconds=float(one["checkout_seconds"]),
        statements=int(one["statements"]),
        statement=_text(one["statement"]),
        recent=recent,
        pin=one["pin"] or "",
        blocking=int(one.get("blocking", 0)),
        blocking_seconds=float(one.get("blocking_seconds", 0.0)),
    )


def _text(statement: Json | None) -> bytes:
    return b"" if statement is None else str(statement["text"]).encode()


def _traits(traits: Json | None) -> Traits | None:
    """None, and they are read from the recorded texts."""
    if traits is None:
        return None
    return Traits(
        fingerprint=str(traits["fingerprint"]),
        text=str(traits["text"]),
        latest=_classes(traits["latest"]),
        classes=_classes(traits["classes"]),
        wrote=_known(traits["wrote"]),
        savepoint=_known(traits["savepoint"]),
        isolation=str(traits["isolation"]),
        tags={str(name): str(value) for name, value in traits["tags"].items()},
        lifted=frozenset(str(name) for name in traits["lifted"]),
    )


def _classes(names: Sequence[str]) -> frozenset[StatementClass]:
    return frozenset(StatementClass(name) for name in names)


def _known(value: object) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ValueError("neither true, false nor null")
    return value


def traits_json(traits: Traits) -> dict[str, object]:
    """What `read_snapshot` reads."""
    return {
        "fingerprint": traits.fingerprint,
        "text": traits.text,
        "latest": sorted(traits.latest),
        "classes": sorted(traits.classes),
        "wrote": traits.wrote,
        "savepoint": traits.savepoint,
        "isolation": traits.isolation,
        "tags": traits.tags,
        "lifted": sorted(traits.lifted),
    }


def _pool_state(pool: Json) -> PoolState:
    return PoolState(
        size=int(pool["size"]),
        idle=int(pool["idle"]),
        held=int(pool["held"]),
        opening=int(pool["opening"]),
        waiting=int(pool["waiting"]),
        oldest_wait_seconds=float(pool["oldest_wait_seconds"]),
        sessions=int(pool["sessions"]),
        pinned=int(pool["pinned"]),
        utilisation=int(pool["held"]) / int(pool["size"]) if int(pool["size"]) else 0.0,
    )
