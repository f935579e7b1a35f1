"""The keys of a rule's `when`, ready to ask: does it hold, since when, and what was found. Pure."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import translate
from ipaddress import ip_address, ip_network
from typing import Final

from poolguard.core.units import format_duration
from poolguard.guard.case import Case
from poolguard.guard.incidents import PoolState
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from poolguard.settings.expressions import search_for
from poolguard.settings.matching import Comparison, When, age, number

IDLE: Final = frozenset({Phase.IDLE_IN_TRANSACTION, Phase.FAILED_TRANSACTION})

READS_STATEMENTS: Final = frozenset(
    {"wrote", "savepoint", "isolation", "statement_class", "fingerprint", "statement", "tags"}
)
"""Keys for which statements must be read: asked last."""

READS_POOL: Final = frozenset({"pool_utilisation", "waiters", "oldest_wait"})


@dataclass(frozen=True, slots=True)
class Condition:
    """One key."""

    key: str
    wanted: str
    """As in the settings."""
    holds: Callable[[Case], bool]
    found: Callable[[Case], str]
    """What there is, for people; no literal of a query."""
    held_for: Callable[[Case], float]
    """For how many seconds it has held at least, if it holds."""
    watched: bool = False
    """It may have held for longer, which only somebody who watches can tell."""
    floor: float = 0.0
    """No checkout younger than this (seconds) can hold it."""


def compile_when(when: When) -> tuple[Condition, ...]:
    """The conditions of *when*, the cheap ones first."""
    return tuple(_conditions(when))


def _conditions(when: When) -> Iterator[Condition]:
    yield from _names(when)
    if when.state:
        yield _state(tuple(state.value for state in when.state))
    ages = {
        "idle_for": (when.idle_for, idle_seconds),
        "transaction_age": (when.transaction_age, transaction_seconds),
        "statement_age": (when.statement_age, statement_seconds),
        "checkout_age": (when.checkout_age, checkout_seconds),
    }
    for key, (text, read) in ages.items():
        if text is not None:
            yield _age(key, text, read)
    if when.statements is not None:
        yield _number("statements", when.statements, lambda case: float(case.transaction.statements))
    if when.blocking is not None:
        yield _blocking(when.blocking)
    if when.blocking_for is not None:
        yield _age("blocking_for", when.blocking_for, _blocking_seconds, floor=0.0)
    yield from _pool(when)
    yield from _statements(when)


# Who it is: holds for as long as the server is held.


def _names(when: When) -> Iterator[Condition]:
    names: dict[str, tuple[tuple[str, ...], Callable[[Transaction], str]]] = {
        "pool": (when.pool, lambda transaction: transaction.pool),
        "user": (when.user, lambda transaction: transaction.user),
        "database": (when.database, lambda transaction: transaction.database),
        "application_name": (when.application_name, lambda transaction: transaction.application_name),
    }
    for key, (globs, read) in names.items():
        if globs:
            yield _glob(key, globs, read)
    if when.client_address:
        yield _address(when.client_address)


def globs_to_pattern(globs: Sequence[str]) -> re.Pattern[str]:
    """A pattern that matches whatever one of *globs* does, as a whole."""
    return re.compile("|".join(translate(glob) for glob in globs))


def _glob(key: str, globs: tuple[str, ...], read: Callable[[Transaction], str]) -> Condition:
    pattern = globs_to_pattern(globs)
    return Condition(
        key,
        _either(globs),
        lambda case: pattern.match(read(case.transaction)) is not None,
        lambda case: read(case.transaction),
        _since_checkout,
    )


def _address(networks: tuple[str, ...]) -> Condition:
    known = [ip_network(text) for text in networks if text != "unix"]
    unix = "unix" in networks

    def holds(case: Case) -> bool:
        text = case.transaction.client_address
        if text == "unix":
            return unix
        try:
            address = ip_address(text.rpartition(":")[0].strip("[]"))
        except ValueError:
            return False
        return any(address in network for network in known)

    return Condition(
        "client_address", _either(networks), holds, lambda case: case.transaction.client_address, _since_checkout
    )


def _since_checkout(case: Case) -> float:
    return case.transaction.checkout_seconds


# Where it stands, and for how long.


def _state(states: tuple[str, ...]) -> Condition:
    phases = frozenset(Phase[state.upper()] for state in states)
    # Between idle and failed lies a statement: within either the phase's own age counts. With active in the list a
    # transaction may go to and fro for long.
    watched = Phase.ACTIVE in phases and len(phases) > 1
    return Condition(
        "state",
        _either(states),
        lambda case: case.transaction.phase in phases,
        lambda case: case.transaction.phase.name.lower(),
        _since_phase,
        watched,
    )


def idle_seconds(transaction: Transaction) -> float | None:
    """How long the client has said nothing inside of a transaction; None outside, or while a statement runs."""
    return transaction.phase_seconds if transaction.phase in IDLE else None


def transaction_seconds(transaction: Transaction) -> float | None:
    """How long the transaction is open. A pinned session that stands between transactions has none."""
    return None if transaction.phase is Phase.PINNED else transaction.transaction_seconds


def statement_seconds(transaction: Transaction) -> float | None:
    """How long the statement runs; None when none does."""
    return transaction.statement_seconds if transaction.phase is Phase.ACTIVE else None


def checkout_seconds(transaction: Transaction) -> float | None:
    """How long the server is held."""
    return transaction.checkout_seconds


def _blocking_seconds(transaction: Transaction) -> float | None:
    return transaction.blocking_seconds if transaction.blocking else None


def _age(key: str, text: str, read: Callable[[Transaction], float | None], *, floor: float | None = None) -> Condition:
    limit = age(text)

    def holds(case: Case) -> bool:
        seconds = read(case.transaction)
        return seconds is not None and limit.holds(seconds)

    return Condition(
        key,
        text,
        holds,
        lambda case: _duration(read(case.transaction)),
        lambda case: _held_since(limit, read(case.transaction) or 0.0),
        floor=(limit.value if limit.is_floor else 0.0) if floor is None else floor,
    )


def _held_since(limit: Comparison, seconds: float) -> float:
    return seconds - limit.value if limit.is_floor else seconds


def _duration(seconds: float | None) -> str:
    return "none" if seconds is None else format_duration(seconds)


def _number(key: str, text: str, read: Callable[[Case], float | None]) -> Condition:
    limit = number(text)

    def holds(case: Case) -> bool:
        value = read(case)
        return value is not None and limit.holds(value)

    def found(case: Case) -> str:
        value = read(case)
        return "not known" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"

    return Condition(key, text, holds, found, _since_now, watched=True)


def _blocking(text: str) -> Condition:
    limit = number(text)
    asks_for_one = limit.is_floor and limit.value <= 1
    # The longest wait says since when there has been one; since when there were more, only whoever watches can tell.
    return replace(
        _number("blocking", text, lambda case: float(case.transaction.blocking)),
        held_for=lambda case: case.transaction.blocking_seconds if asks_for_one else 0.0,
        watched=not asks_for_one,
    )


def _since_now(_: Case) -> float:
    return 0.0


# Its pool.


def _pool(when: When) -> Iterator[Condition]:
    if when.pool_utilisation is not None:
        yield _number("pool_utilisation", when.pool_utilisation, _utilisation)
    if when.waiters is not None:
        yield _number("waiters", when.waiters, _waiting)
    if when.oldest_wait is not None:
        yield _oldest_wait(when.oldest_wait)


def _utilisation(case: Case) -> float | None:
    return None if case.pool is None else case.pool.utilisation


def _waiting(case: Case) -> float | None:
    return None if case.pool is None else float(case.pool.waiting)


def _oldest_wait(text: str) -> Condition:
    limit = age(text)

    def seconds(pool: PoolState | None) -> float | None:
        return None if pool is None or not pool.waiting else pool.oldest_wait_seconds

    def holds(case: Case) -> bool:
        waited = seconds(case.pool)
        return waited is not None and limit.holds(waited)

    return Condition("oldest_wait", text, holds, lambda case: _duration(seconds(case.pool)), _since_now, watched=True)


# What its statements say.


def _statements(when: When) -> Iterator[Condition]:
    if when.wrote is not None:
        yield _wrote(when.wrote)
    if when.savepoint is not None:
        wanted = when.savepoint
        yield Condition(
            "savepoint",
            _yes(wanted),
            lambda case: case.traits.savepoint is wanted,
            lambda case: _yes(case.traits.savepoint),
            _since_phase,
            watched=True,
        )
    if when.isolation:
        levels = frozenset(level.value for level in when.isolation)
        yield Condition(
            "isolation",
            _either(when.isolation),
            lambda case: case.traits.isolation in levels,
            lambda case: case.traits.isolation or "not said",
            _since_phase,
            watched=True,
        )
    if when.statement_class:
        classes = frozenset(when.statement_class)
        yield Condition(
            "statement_class",
            _either(when.statement_class),
            lambda case: not classes.isdisjoint(case.traits.latest),
            lambda case: ", ".join(sorted(case.traits.latest)) or "none",
            _since_phase,
        )
    if when.fingerprint:
        prints = frozenset(when.fingerprint)
        yield Condition(
            "fingerprint",
            _either(when.fingerprint),
            lambda case: case.traits.fingerprint in prints,
            lambda case: case.traits.fingerprint or "none",
            _since_phase,
        )
    if when.statement is not None:
        found_in = search_for(when.statement)
        yield Condition(
            "statement",
            when.statement,
            lambda case: found_in(case.traits.text),
            lambda case: case.traits.text or "none",
            _since_phase,
        )
    for name, glob in when.tags.items():
        yield _tag(name, glob)


def _wrote(wanted: bool) -> Condition:
    # What is not known counts as written: a rule that spares writers must not end one by mistake.
    return Condition(
        "wrote",
        _yes(wanted),
        lambda case: (case.traits.wrote is not False) is wanted,
        lambda case: _yes(case.traits.wrote),
        _since_phase,
        watched=True,
    )


def _tag(name: str, glob: str) -> Condition:
    pattern = globs_to_pattern((glob,))
    return Condition(
        f"tags.{name}",
        glob,
        lambda case: pattern.match(case.traits.tags.get(name, "")) is not None and name in case.traits.tags,
        lambda case: case.traits.tags.get(name, "none"),
        _since_phase,
        watched=True,
    )


def _since_phase(case: Case) -> float:
    """What statements say has been so at least since the latest came, or ended."""
    return case.transaction.phase_seconds


def _either(values: Sequence[str]) -> str:
    return " or ".join(str(value) for value in values)


def _yes(value: bool | None) -> str:
    return "not known" if value is None else "true" if value else "false"
