"""Columns and rows of each answer. Pure. Ages are in seconds; statements are shown without their literals."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from poolguard.console.encoding import Column, Kind, Value
from poolguard.console.statements import Topic
from poolguard.guard.incidents import Incident, Party, iso_time
from poolguard.guard.locks.backends import Backend, Node
from poolguard.guard.locks.graph import LockGraph
from poolguard.guard.locks.roots import kind_of
from poolguard.lease.manager import Standing
from poolguard.ledger.facts import SessionFacts, Transaction
from poolguard.metrics.sources import SettingsInForce
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.wire.fingerprint import fingerprint

Row = tuple[Value, ...]

MOST_ROWS: Final = 500
"""Of one answer."""


@dataclass(frozen=True, slots=True)
class Table:
    """An answer. Rows are made as they are read; what they are made of must be frozen."""

    columns: tuple[Column, ...]
    rows: Iterable[Row]
    notice: str = ""
    """What else is to be said."""


def _columns(text: str) -> tuple[Column, ...]:
    """`name size:int8` as columns."""
    named = (word.partition(":") for word in text.split())
    return tuple(Column(name, Kind[kind.upper()] if kind else Kind.TEXT) for name, _, kind in named)


COLUMNS: Final = {
    Topic.HELP: _columns("statement meaning"),
    Topic.POOLS: _columns(
        "name mode policy size:int8 idle:int8 held:int8 opening:int8 pinned:int8 waiting:int8 max_waiting:int8 "
        "oldest_wait_seconds:float8 sessions:int8 checkouts_total:int8 wait_timeouts_total:int8 queue_full_total:int8 "
        "opened_total:int8 open_failures_total:int8 retry_in_seconds:float8 last_error"
    ),
    Topic.SESSIONS: _columns(
        "id:int8 pool user database application_name client_address state state_seconds:float8 "
        "connected_seconds:float8 transaction backend_pid:int8 pin channels:int8 lane"
    ),
    Topic.TRANSACTIONS: _columns(
        "id pool user database application_name client_address backend_pid:int8 state state_seconds:float8 "
        "transaction_seconds:float8 statement_seconds:float8 checkout_seconds:float8 statements:int8 pin fingerprint "
        "statement lane"
    ),
    Topic.LOCKS: _columns(
        "depth:int8 pid:int8 blocked_by class waits_seconds:float8 lock_mode lock_on state state_seconds:float8 user "
        "application_name pool transaction statement"
    ),
    Topic.INCIDENTS: _columns(
        "id time kind pool rule action outcome actor transaction application_name client_address waiter "
        "waited_seconds:float8 classification statement"
    ),
    Topic.LEASES: _columns(
        "name holder token:int8 valid_for_ms:int8 duration_seconds:float8 acquire_time renew_time transitions:int8 "
        "step_down_requested"
    ),
    Topic.SETTINGS: _columns("name value"),
    Topic.VERSION: _columns("version"),
}
"""What SHOW answers with."""

KILL_COLUMNS: Final = _columns("transaction action outcome incident")

_HELP: Final = (
    ("SHOW HELP", "this list"),
    ("SHOW POOLS", "every pool: servers, queue, totals since the start"),
    ("SHOW SESSIONS", "clients, oldest first"),
    ("SHOW TRANSACTIONS", "what holds servers, oldest first; the id is what KILL wants"),
    ("SHOW LOCKS", "who waits for whose lock: the root at depth 0, below it who waits"),
    ("SHOW INCIDENTS", "what the guard, an operator or a full queue did to whom, newest first"),
    ("SHOW LEASES", "leases and who holds them, as PostgreSQL has them now"),
    ("SHOW SETTINGS", "which settings are in force; nothing of what is in them"),
    ("SHOW VERSION", "of poolguard"),
    ("KILL 'ID' CANCEL", "end the running statement"),
    ("KILL 'ID' ROLLBACK", "end the transaction, keep the session; only while no statement runs"),
    ("KILL 'ID' TERMINATE", "close the session and its server"),
)


def help_rows() -> Sequence[Row]:
    """What may be said."""
    return _HELP


def pool_rows(pools: Sequence[PoolSnapshot]) -> Iterator[Row]:
    """Every pool, in the order of the settings."""
    for pool in pools:
        yield (
            pool.name,
            pool.mode,
            pool.policy,
            pool.size,
            pool.idle,
            pool.held,
            pool.opening,
            pool.pinned,
            pool.waiting,
            pool.max_waiting,
            _round(pool.oldest_wait_seconds),
            pool.sessions,
            pool.checkouts_total,
            pool.wait_timeouts_total,
            pool.queue_full_total,
            pool.opened_total,
            pool.open_failures_total,
            _round(pool.retry_in_seconds),
            pool.last_error or None,
        )


def session_rows(sessions: Sequence[SessionFacts]) -> Iterator[Row]:
    """Sessions, in the given order."""
    for session in sessions:
        yield (
            session.id,
            session.pool or None,
            session.user,
            session.database,
            session.application_name,
            session.client_address,
            session.phase.name.lower(),
            _round(session.phase_seconds),
            _round(session.connected_seconds),
            str(session.transaction) if session.transaction else None,
            session.backend_pid or None,
            session.pin or None,
            session.channels,
            session.lane or None,
        )


def transaction_rows(transactions: Sequence[Transaction], *, shows_text: bool = True) -> Iterator[Row]:
    """Checkouts, in the given order. A statement that is long and new takes up to 3 ms to be read."""
    for held in transactions:
        statement = fingerprint(held.statement) if held.statement else None
        yield (
            str(held.id),
            held.pool,
            held.user,
            held.database,
            held.application_name,
            held.client_address,
            held.backend_pid,
            held.phase.name.lower(),
            _round(held.phase_seconds),
            _round(held.transaction_seconds),
            _round(held.statement_seconds),
            _round(held.checkout_seconds),
            held.statements,
            held.pin or None,
            statement.id if statement else None,
            (statement.text if shows_text else statement.id) if statement else None,
            held.lane or None,
        )


def lock_rows(graph: LockGraph) -> Iterator[Row]:
    """Each tree's root, and below it who waits because of it."""
    for tree in graph.trees:
        yield (0, _pid(tree.root), None, kind_of(tree).value, None, None, None, *_backend(tree.backend))
        for branch in tree.branches:
            wait = branch.wait
            yield (
                branch.depth,
                wait.pid,
                ", ".join(map(str, wait.blockers)),
                None,
                _round(wait.seconds),
                wait.mode or None,
                wait.target or None,
                *_backend(branch.backend),
            )


def _pid(node: Node) -> int | None:
    return node.pid or None


def _backend(backend: Backend | None) -> Row:
    if backend is None:
        return (None,) * 7
    return (
        backend.state or None,
        _round(backend.state_seconds),
        backend.user or None,
        backend.application_name or None,
        backend.pool or None,
        str(backend.transaction) if backend.transaction is not None else None,
        backend.statement.text if backend.statement is not None else None,
    )


def incident_rows(incidents: Sequence[Incident]) -> Iterator[Row]:
    """Incidents, in the given order. Of a wait in vain the oldest holder is shown."""
    for incident in incidents:
        party = incident.transaction or (incident.holders[0] if incident.holders else None)
        yield (
            incident.id,
            iso_time(incident.at),
            incident.kind.value,
            incident.pool,
            incident.rule,
            incident.action.value if incident.action else None,
            incident.outcome.value,
            incident.actor,
            *_party(party),
            incident.waiter or None,
            _round(incident.waited_seconds) if incident.waited_seconds else None,
            incident.classification.value,
            party.fingerprints[-1].text if party is not None and party.fingerprints else None,
        )


def _party(party: Party | None) -> Row:
    return (None,) * 3 if party is None else (party.id, party.application_name, party.client_address)


def lease_rows(leases: Sequence[Standing]) -> Iterator[Row]:
    """Leases, in the given order."""
    for lease in leases:
        row = lease.row
        yield (
            row.name,
            row.holder,
            row.token,
            int(lease.valid_for_seconds * 1000),
            row.ttl_seconds,
            _time(row.acquired_at),
            _time(row.renewed_at),
            row.transitions,
            "yes" if row.step_down is not None else "no",
        )


def setting_rows(current: SettingsInForce) -> Iterator[Row]:
    """Which settings are in force, not what is in them."""
    yield "hash", current.hash
    yield "source", current.source
    yield "loaded_at", iso_time(current.loaded_at)
    yield from (("warning", warning) for warning in current.warnings)
    yield from ((f"reloads_{result.value}", str(number)) for result, number in current.reloads.items())
    yield "last_refusal", current.last_refusal or None
    yield "admin_token_required", "yes" if current.settings.auth.admin_token else "no"


def kill_row(incident: Incident, transaction: str) -> Row:
    """What became of it."""
    return transaction, incident.action.value if incident.action else None, incident.outcome.value, incident.id


def _round(seconds: float) -> float:
    return round(seconds, 3)


def _time(at: datetime | None) -> str | None:
    return None if at is None else iso_time(at.astimezone(UTC).timestamp())
