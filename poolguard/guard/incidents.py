"""What an incident holds, and its JSON form: the record of one action, of one starvation, or of an operator's hand.

Pure. Statements appear only as fingerprints. Fields are only ever added to the JSON; a change of meaning raises
`SCHEMA_VERSION`. Ages are seconds, times are ISO 8601 in UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any, Final

from poolguard.guard.history import Action
from poolguard.guard.locks.backends import Identity
from poolguard.wire.fingerprint import Fingerprint

SCHEMA_VERSION: Final = 1

TEXT_KEY: Final = "statement"
TEXT_OMITTED: Final = "omitted"
"""The key of a rule that finds a statement's text, and what stands there where texts are not to be shown."""


class IncidentKind(StrEnum):
    """Why there is an incident."""

    ACTION = "action"
    """A rule matched: warned, acted, would have acted, or had to leave it."""
    STARVATION = "starvation"
    """Somebody waited for a server in vain."""
    DEADLOCK = "deadlock"
    """PostgreSQL ended one of several statements that waited for each other."""
    BY_HAND = "by_hand"
    """An operator acted."""
    LEASE = "lease"
    """An operator ended a lease's term by force."""
    FOREIGN = "foreign"
    """A rule of foreign_blockers matched a backend that is not ours."""


class IncidentMode(StrEnum):
    """Whether verdicts of this kind are carried out."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class IncidentOutcome(StrEnum):
    """What became of it. The first five are `ledger.hands.Outcome`."""

    DONE = "done"
    VICTIM_MOVED = "victim_moved"
    REFUSED = "refused"
    FAILED = "failed"
    NO_PRIVILEGE = "no_privilege"
    """PostgreSQL does not let our role see or end it."""
    OBSERVED = "observed"
    """Would have been done: the policy's mode is observe."""
    BUDGET = "budget"
    """Left undone: the policy's budget was used up."""
    SPARED = "spared"
    """Left undone: such work is not ended."""
    TIMEOUT = "timeout"
    """Starvation: the wait ran out of time."""
    QUEUE_FULL = "queue_full"
    """Starvation: refused at once."""


class Classification(StrEnum):
    """What kind of trouble it looks like. Decides the advice."""

    LEAK = "leak"
    FAILED_AND_LEFT = "failed_and_left"
    LONG_STATEMENT = "long_statement"
    LONG_TRANSACTION = "long_transaction"
    PINNED = "pinned"
    LEAKS_HOLD_POOL = "leaks_hold_pool"
    PINS_HOLD_POOL = "pins_hold_pool"
    WORK_HOLDS_POOL = "work_holds_pool"
    LOCKS_HOLD_POOL = "locks_hold_pool"
    SELF_DEADLOCK = "self_deadlock"
    POOL_UNREACHABLE = "pool_unreachable"
    DEADLOCK = "deadlock"
    FORCED_RELEASE = "forced_release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A transaction that was acted on, or that held what somebody waited for."""

    id: str
    """`SESSION-CHECKOUT`, as everywhere in the API."""
    pool: str
    user: str
    database: str
    application_name: str
    client_address: str
    backend_pid: int
    phase: str
    phase_seconds: float
    transaction_seconds: float
    statement_seconds: float
    checkout_seconds: float
    statements: int
    pin: str
    fingerprints: tuple[Fingerprint, ...]
    """Of the latest statements, newest last, each once."""
    tags: dict[str, str]
    """sqlcommenter tags of those statements."""
    wrote: bool | None = None
    """None: not known, also below."""
    savepoint: bool | None = None
    isolation: str = ""
    statement_classes: tuple[str, ...] = ()
    """Of all its statements that are known."""
    sets: tuple[Fingerprint, ...] = ()
    """The latest SETs that keep its server, because PostgreSQL does not report what they set; each once."""
    lifted_timeouts: tuple[str, ...] = ()
    """PostgreSQL's timeouts that the client has set to 0."""
    blocking: int = 0
    """How many sessions wait for its locks; 0 also while nobody has looked."""
    blocking_seconds: float = 0.0
    """The longest of those waits."""

    def without_text(self) -> "Party":
        """The same, where statements' texts are not to be shown."""
        return replace(
            self,
            fingerprints=tuple(one.without_text() for one in self.fingerprints),
            sets=tuple(one.without_text() for one in self.sets),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """The pool at that moment."""

    size: int
    idle: int
    held: int
    opening: int
    waiting: int
    oldest_wait_seconds: float
    sessions: int
    pinned: int
    utilisation: float
    """held / size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedTerm:
    """The term that an operator ended, as it was before."""

    lease: str
    holder: str
    token: int
    ran_on_seconds: float
    """For how long it would still have run; 0: it was over already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The step that matched, and what was measured."""

    limit_seconds: float
    actual_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """One key of the rule, what it wanted and what was found."""

    key: str
    wanted: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSees:
    """What the client is told, if the action is done."""

    sqlstate: str
    severity: str
    when: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineStep:
    """An earlier step against the same transaction."""

    incident: str
    at: float
    rule: str
    action: Action
    outcome: IncidentOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One record. What does not apply is None or empty."""

    id: str
    at: float
    """Wall clock, seconds since 1970: when it was decided."""
    kind: IncidentKind
    mode: IncidentMode
    pool: str
    policy: str
    settings_hash: str
    rule: str | None = None
    action: Action | None = None
    outcome: IncidentOutcome
    outcome_seconds: float = 0.0
    """How long the action took."""
    actor: str = "guard"
    reason: str = ""
    """What an operator gave as one."""
    threshold: Threshold | None = None
    matched: tuple[Matched, ...] = ()
    """The keys of a rule of the long form."""
    also_matched: tuple[str, ...] = ()
    """Rules that came after the one that acted."""
    spared_by: str | None = None
    """What kept the transaction from being ended: its kind of work, or the part of the budget that is used up."""
    transaction: Party | None = None
    backend: Identity | None = None
    """Of a backend that is not ours: which process and transaction it was, by PostgreSQL's clock."""
    lock_tree: Mapping[str, object] | None = None
    """Who waited because of it, as in /v1/locks, the first few; of a pool whose holders wait for a lock, that tree."""
    term: EndedTerm | None = None
    """Of a lease that was released by force."""
    waiter: str = ""
    """application_name of whoever waited in vain."""
    waited_seconds: float = 0.0
    holders: tuple[Party, ...] = ()
    """Of a starved pool, oldest first, the first few."""
    holders_total: int = 0
    repeats: int = 0
    """Starvations of this pool since its last incident that got none of their own."""
    pool_state: PoolState | None = None
    client_sees: ClientSees | None = None
    timeline: tuple[TimelineStep, ...] = ()
    """Earlier steps, oldest first."""
    kills_left: int | None = None
    """What the policy's kills_per_minute still allows."""
    classification: Classification
    advice: str
    exemption: str = ""
    """YAML to paste into the settings, if this should have been left alone."""
    version: int = field(default=SCHEMA_VERSION)

    def without_text(self) -> "Incident":
        """The same, where statements' texts are not to be shown."""
        return replace(
            self,
            transaction=self.transaction.without_text() if self.transaction is not None else None,
            holders=tuple(holder.without_text() for holder in self.holders),
            matched=tuple(replace(one, found=TEXT_OMITTED) if one.key == TEXT_KEY else one for one in self.matched),
            lock_tree=_without_text(self.lock_tree),
        )

    def as_json(self) -> dict[str, object]:
        """Plain values for json.dumps. `time` stands beside `at` for people."""
        plain = {item.name: _plain(getattr(self, item.name)) for item in fields(self)}
        timeline = [{**_fields(step), "time": iso_time(step.at)} for step in self.timeline]
        return {**plain, "time": iso_time(self.at), "timeline": timeline}


def _without_text(value: Any) -> Any:
    """Plain values of a lock tree, with a fingerprint in the place of each text."""
    match value:
        case {"fingerprint": str(name), "text": _}:
            return {"fingerprint": name, "text": name}
        case Mapping():
            return {key: _without_text(item) for key, item in value.items()}
        case list():
            return [_without_text(item) for item in value]
    return value


def iso_time(seconds: float) -> str:
    """Say a wall clock time: `2026-11-21T08:30:00.123Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(value: object) -> dict[str, object]:
    assert is_dataclass(value), "only dataclasses have fields"
    return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}


def _plain(value: object) -> object:
    match value:
        case Enum():
            return value.value
        case Fingerprint():
            return {"id": value.id, "text": value.text}
        case float():
            return round(value, 3)
        case datetime():
            return iso_time(value.timestamp())
        case tuple():
            return [_plain(item) for item in value]
    return _fields(value) if is_dataclass(value) else value
