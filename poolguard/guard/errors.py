"""Errors that have a culprit: deadlocks by the statements that met, duplicate keys by constraint. Bounded counts."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from poolguard.guard.deadlocks import edges_of
from poolguard.guard.evidence import party_of
from poolguard.guard.incidents import Party
from poolguard.guard.traits import statements_of
from poolguard.ledger.facts import Transaction
from poolguard.wire.fingerprint import Fingerprint

DEADLOCK: Final = "40P01"
DUPLICATE: Final = "23505"

MOST_PAIRS: Final = 50
MOST_CONSTRAINTS: Final = 100
OTHER: Final = "other"
UNKNOWN: Final = Fingerprint("unknown", "")
"""Of a backend that is not ours: another pod's, or a session that goes past poolguard."""
MAX_NAME: Final = 64

_NAMED: Final = re.compile(r"""([^"»«]*)["»«]\s*([^\s"»«'=()]+)\s*["»«]([^"»«]*)""")
"""One name in quotes: German has »jobs«, Spanish and French have «jobs», all others straight ones."""
_PLACE: Final = re.compile(r"\d+, ?\d+")
"""Where the row stands: what tells that line from those that quote SQL, which may hold literals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlockParty:
    """One backend in the cycle, and what it waited for: the next one's lock."""

    pid: int
    statement: Fingerprint
    party: Party | None
    """Who it was, if it was ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offence:
    """Who ran into a constraint, and with which statement."""

    application_name: str
    statement: Fingerprint
    tags: dict[str, str]
    """sqlcommenter tags of that statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlock:
    """One deadlock, as its victim was told of it. *cycle*: each waited for the next, the last for the first."""

    pool: str
    cycle: tuple[DeadlockParty, ...]
    """The victim comes first. Empty if the message could not be read."""
    context: str
    """Which relation, if PostgreSQL says so: `relation "jobs"`. No values."""


class ErrorBook:
    """Counts. *on_deadlock* is told of each, at once."""

    def __init__(self, on_deadlock: Callable[[Deadlock], object]) -> None:
        self._on_deadlock = on_deadlock
        self.deadlocks: Counter[str] = Counter()
        """By pool."""
        self.pairs: Counter[tuple[str, str]] = Counter()
        """By the ids of two statements that met, in order; those beyond `MOST_PAIRS` as `other`."""
        self.texts: dict[str, str] = {}
        """The statements of those pairs."""
        self.duplicates: Counter[tuple[str, str, str]] = Counter()
        """By pool, table and constraint; those beyond `MOST_CONSTRAINTS` as `other`."""
        self.latest: dict[tuple[str, str, str], Offence] = {}
        """Of each of those, the latest."""

    def seen(self, victim: Transaction, fields: Mapping[str, str], holders: Iterable[Transaction]) -> None:
        """Count what PostgreSQL told *victim*: the fields of an ErrorResponse. *holders*: all that hold servers."""
        match fields.get("C"):
            case "40P01":
                self._deadlock(victim, fields, holders)
            case "23505":
                key = (victim.pool, _name(fields, "t"), _name(fields, "n"))
                if key not in self.duplicates and len(self.duplicates) >= MOST_CONSTRAINTS:
                    key = (victim.pool, OTHER, OTHER)
                self.duplicates[key] += 1
                self.latest[key] = _offence(victim)

    def _deadlock(self, victim: Transaction, fields: Mapping[str, str], holders: Iterable[Transaction]) -> None:
        ours = {transaction.backend_pid: transaction for transaction in holders} | {victim.backend_pid: victim}
        cycle = tuple(_party(edge.waiter, ours.get(edge.waiter)) for edge in edges_of(fields.get("D", "")))
        self.deadlocks[victim.pool] += 1
        # Two who wait for each other are two edges, and one meeting.
        edges = zip(cycle, (*cycle[1:], *cycle[:1]), strict=True)
        for low, high in {_in_order(one.statement, other.statement) for one, other in edges}:
            self._count_pair(low, high)
        self._on_deadlock(Deadlock(pool=victim.pool, cycle=cycle, context=_relation(fields.get("W", ""))))

    def _count_pair(self, low: Fingerprint, high: Fingerprint) -> None:
        key = (low.id, high.id)
        if key not in self.pairs and len(self.pairs) >= MOST_PAIRS:
            key = (OTHER, OTHER)
        else:
            self.texts[low.id], self.texts[high.id] = low.text, high.text
        self.pairs[key] += 1


def _in_order(one: Fingerprint, other: Fingerprint) -> tuple[Fingerprint, Fingerprint]:
    return (one, other) if one <= other else (other, one)


def _party(pid: int, transaction: Transaction | None) -> DeadlockParty:
    if transaction is None:
        return DeadlockParty(pid=pid, statement=UNKNOWN, party=None)
    party = party_of(transaction, statements=statements_of(transaction)[-1:])
    return DeadlockParty(pid=pid, statement=party.fingerprints[-1] if party.fingerprints else UNKNOWN, party=party)


def _offence(transaction: Transaction) -> Offence:
    party = party_of(transaction, statements=statements_of(transaction)[-1:])
    statement = party.fingerprints[-1] if party.fingerprints else UNKNOWN
    return Offence(application_name=party.application_name, statement=statement, tags=party.tags)


def _relation(context: str) -> str:
    """The quoted name out of `while updating tuple (0,1) in relation "jobs"`, whatever the language of the words."""
    line = _NAMED.fullmatch(context.partition("\n")[0])
    if line is None or _PLACE.search(f"{line[1]} {line[3]}") is None:
        return ""
    return f'relation "{line[2][:MAX_NAME]}"'


def _name(fields: Mapping[str, str], key: str) -> str:
    return fields.get(key, "")[:MAX_NAME] or "unknown"
