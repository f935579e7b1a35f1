"""Rows of PostgreSQL's to waits and backends. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from poolguard.guard.locks.backends import Backend, Identity, Node, Wait
from poolguard.guard.locks.conflicts import Lock, blockers
from poolguard.ledger.facts import Transaction
from poolguard.wire.fingerprint import comments_of, fingerprint

Row = Mapping[str, Any]
NO_PID: Final = 0
"""What pg_blocking_pids calls a prepared transaction, which has no process."""


def waits_of(rows: Iterable[Row], gids: Mapping[int, tuple[str, ...]]) -> list[Wait]:
    """Answers to BLOCKERS. *gids*: for who waits for prepared transactions, their names."""
    return [
        Wait(
            pid=row["pid"],
            blockers=_with_names(row["blockers"], gids.get(row["pid"], ("",))),
            mode=row["mode"],
            target=target_of(row),
            seconds=row["seconds"],
        )
        for row in rows
    ]


def _with_names(pids: Iterable[int], gids: tuple[str, ...]) -> tuple[Node, ...]:
    nodes: dict[Node, None] = {}
    for pid in pids:
        nodes.update(dict.fromkeys([Node(pid)] if pid != NO_PID else [Node(NO_PID, gid) for gid in gids]))
    return tuple(nodes)


def waits_of_locks(rows: Iterable[Row], prepared: Mapping[str, str]) -> list[Wait]:
    """Answers to LOCKS. *prepared*: gid of each prepared transaction, by its virtualtransaction."""
    rows = list(rows)
    found = blockers(
        Lock(row["object"], _holder(row, prepared), row["mode"], row["granted"], row["seconds"] or 0.0) for row in rows
    )
    return [
        Wait(
            pid=row["pid"],
            blockers=found.get(row["pid"], ()),
            mode=row["mode"],
            target=target_of(row),
            seconds=row["seconds"] or 0.0,
        )
        for row in rows
        if not row["granted"] and row["pid"] is not None
    ]


def _holder(row: Row, prepared: Mapping[str, str]) -> Node:
    if row["pid"] is not None:
        return Node(row["pid"])
    return Node(NO_PID, prepared.get(row["virtualtransaction"], ""))


def gids_of(rows: Iterable[Row], prepared: Mapping[str, str]) -> dict[int, tuple[str, ...]]:
    """Answers to PREPARED_BLOCKERS: by who waits, the names of the prepared transactions in its way."""
    found: dict[int, tuple[str, ...]] = {}
    for row in rows:
        gid = prepared.get(row["virtualtransaction"], "")
        if gid not in found.get(row["pid"], ()):
            found[row["pid"]] = (*found.get(row["pid"], ()), gid)
    return found


def target_of(row: Row) -> str:
    """Say what is locked."""
    kind, relation = row["locktype"], row["relation"]
    match kind:
        case "relation":
            return f"relation {relation}" if relation else "a relation of another database"
        case "transactionid":
            return f"transaction {row['xid']}"
        case "virtualxid":
            return f"virtual transaction {row['virtualxid']}"
        case "tuple" | "page" | "extend":
            return f"{'a row' if kind == 'tuple' else kind} of {relation}" if relation else kind
        case "advisory":
            return "an advisory lock"
    return str(kind)


def backends_of(rows: Iterable[Row], ours: Mapping[int, Transaction]) -> dict[int, Backend]:
    """Answers to BACKENDS, by pid. *ours*: our transactions by the pid of the backend that runs them."""
    return {row["pid"]: _backend(row, ours.get(row["pid"])) for row in rows}


def _backend(row: Row, transaction: Transaction | None) -> Backend:
    text = row["statement"]
    return Backend(
        identity=Identity(
            pid=row["pid"],
            backend_start=row["backend_start"],
            xact_start=row["xact_start"],
            state_change=row["state_change"],
            state=row["state"],
        ),
        kind=row["kind"],
        leader_pid=row["leader_pid"],
        user=transaction.user if transaction is not None else row["user"],
        superuser=row["superuser"],
        database=row["database"],
        application_name=transaction.application_name if transaction is not None else row["application_name"],
        client_address=transaction.client_address if transaction is not None else row["client_address"],
        wait_event=row["wait_event"],
        transaction_seconds=row["transaction_seconds"],
        state_seconds=row["state_seconds"],
        statement_seconds=row["statement_seconds"],
        statement=fingerprint(text) if text else None,
        comments=comments_of(text) if text else "",
        pool=transaction.pool if transaction is not None else "",
        transaction=transaction.id if transaction is not None else None,
    )
