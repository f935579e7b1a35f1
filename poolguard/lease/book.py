"""What this process believes about the terms that are held through it. Pure: facts and `now` in, changes out.

`now` and `sent_at` are on the clock that goes on during suspend (`Clock.boottime`).
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar, assert_never

from poolguard.lease.counters import LeaseView, LostReason
from poolguard.lease.terms import TermKey

T = TypeVar("T")

MAX_NAMES: Final = 10_000
"""Applications choose the names, so what is remembered of them is bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """One term, and until when it may be relied on."""

    name: str
    holder: str
    token: int
    transitions: int
    sent_at: float
    """When the request that confirmed it last was sent."""
    trusted_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """PostgreSQL granted, replayed or renewed a term."""

    name: str
    holder: str
    token: int
    transitions: int
    ttl_seconds: float
    valid_for_seconds: float
    sent_at: float


@dataclass(frozen=True, slots=True)
class Refused:
    """PostgreSQL said that this term, which a caller named, is over."""

    term: TermKey


@dataclass(frozen=True, slots=True)
class Seen:
    """PostgreSQL showed this token as the name's latest."""

    name: str
    token: int


@dataclass(frozen=True, slots=True)
class Gone:
    """PostgreSQL showed the term with this token as released."""

    name: str
    token: int


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The holder gives the term back. Belief ends before PostgreSQL is told, whatever it then answers."""

    term: TermKey


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Nobody renews the term any more, for its holder seems to be dead. In PostgreSQL it runs out by itself."""

    term: TermKey


@dataclass(frozen=True, slots=True)
class Forced:
    """An operator ends whatever term runs, up to this token."""

    name: str
    token: int


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing happened; look at the clock."""


Fact = Confirmed | Refused | Seen | Gone | GivenUp | Abandoned | Forced | TimePassed


@dataclass(frozen=True, slots=True)
class Began:
    """A term is believed from now on."""

    belief: Belief


@dataclass(frozen=True, slots=True)
class Extended:
    """A believed term was confirmed; its trust may reach further."""

    belief: Belief


@dataclass(frozen=True, slots=True)
class Ended:
    """A term is believed no longer. No reason: its holder gave it back."""

    belief: Belief
    reason: LostReason | None


Change = Began | Extended | Ended


def margin_seconds(ttl_seconds: float) -> float:
    """How much earlier than PostgreSQL this process lets a term end: for clocks that run at different rates."""
    return max(1.0, ttl_seconds / 10)


class Book:
    """Beliefs by name. `take` is the only door; `check` holds after every call."""

    def __init__(self) -> None:
        self._beliefs: dict[str, Belief] = {}
        self._known: OrderedDict[str, Belief] = OrderedDict()
        """The latest term of each name that was confirmed here, ended ones too: those of which callers may speak."""
        self._over: OrderedDict[str, int] = OrderedDict()
        """Highest token of each name that is known to be over: a late reply must not bring it back."""
        self.floor: int = 0
        """Highest token ever seen. No later term gets one below, even if the row was deleted meanwhile."""

    def take(self, fact: Fact, *, now: float) -> Sequence[Change]:
        """Take in *fact*; says what changed, in order."""
        changes: list[Change] = []
        match fact:
            case Confirmed():
                changes += self._lapse([fact.name], now)
                changes += self._confirm(fact, now)
            case Refused(term):
                changes += self._end_exactly(term, LostReason.REFUSED)
            case Seen(name, token):
                changes += self._end(name, token - 1, LostReason.SUPERSEDED)
            case Gone(name, token):
                changes += self._end(name, token, LostReason.RELEASED)
            case Abandoned(term):
                changes += self._end_exactly(term, LostReason.UNPROVEN)
            case GivenUp(term):
                changes += self._end_exactly(term, None)
            case Forced(name, token):
                changes += self._end(name, token, LostReason.FORCED)
            case TimePassed():
                changes += self._lapse(list(self._beliefs), now)
            case _:
                assert_never(fact)
        return changes

    def leader(self, name: str, *, now: float) -> Belief | None:
        """Return the term of *name* if it may be relied on at *now*."""
        belief = self._beliefs.get(name)
        return belief if belief is not None and now < belief.trusted_until else None

    def is_over(self, name: str, token: int) -> bool:
        """Whether that term is known to have ended: PostgreSQL need not be asked."""
        return token <= self._over.get(name, 0)

    @property
    def full(self) -> bool:
        """Whether no further name can be believed in."""
        return len(self._beliefs) >= MAX_NAMES

    def views(self, *, now: float) -> Sequence[LeaseView]:
        """Every name held or once held here, as of *now*."""
        return [
            LeaseView(
                name=known.name,
                held=(leader := self.leader(known.name, now=now)) is not None,
                token=known.token,
                transitions=known.transitions,
                valid_for_seconds=leader.trusted_until - now if leader is not None else 0.0,
                last_renew_age_seconds=now - known.sent_at,
            )
            for known in self._known.values()
        ]

    def _confirm(self, fact: Confirmed, now: float) -> list[Change]:
        self.floor = max(self.floor, fact.token)
        changes = self._end(fact.name, fact.token - 1, LostReason.SUPERSEDED)
        if self.is_over(fact.name, fact.token):
            return changes
        # From when it was sent, never from when the answer came: PostgreSQL counted from some moment in between.
        length = min(fact.ttl_seconds, fact.valid_for_seconds)
        trusted_until = fact.sent_at + length - margin_seconds(fact.ttl_seconds)
        current = self._beliefs.get(fact.name)
        if current is not None:
            belief = replace(
                current,
                transitions=fact.transitions,
                sent_at=max(current.sent_at, fact.sent_at),
                trusted_until=max(current.trusted_until, trusted_until),
            )
        else:
            belief = Belief(
                name=fact.name,
                holder=fact.holder,
                token=fact.token,
                transitions=fact.transitions,
                sent_at=fact.sent_at,
                trusted_until=trusted_until,
            )
        known = self._known.get(fact.name)
        if belief.trusted_until <= now:
            if known is None or known.token != belief.token:  # nobody leads by it, but its holder may give it up
                _remember(self._known, fact.name, belief)
            return changes
        self._beliefs[fact.name] = belief
        _remember(self._known, fact.name, belief)
        changes.append(Extended(belief) if current is not None else Began(belief))
        return changes

    def _end(self, name: str, token: int, reason: LostReason | None) -> list[Change]:
        self.floor = max(self.floor, token)
        if token > self._over.get(name, 0):
            _remember(self._over, name, token)
        belief = self._beliefs.get(name)
        if belief is None or belief.token > token:
            return []
        del self._beliefs[name]
        return [Ended(belief, reason)]

    def _end_exactly(self, term: TermKey, reason: LostReason | None) -> list[Change]:
        # The term comes from a caller, who may be wrong or lie: only one that was confirmed here counts, and the
        # floor is left alone.
        known = self._known.get(term.name)
        if known is None or (known.holder, known.token) != (term.holder, term.token):
            return []
        return self._end(term.name, term.token, reason)

    def _lapse(self, names: Iterable[str], now: float) -> list[Change]:
        changes: list[Change] = []
        for name in names:
            belief = self._beliefs.get(name)
            if belief is not None and belief.trusted_until <= now:
                # Not put among the terms that are over: a renewal that is still under way may save it.
                del self._beliefs[name]
                changes.append(Ended(belief, LostReason.LAPSED))
        return changes

    def check(self) -> None:
        """Raise AssertionError if the book contradicts itself."""
        for name, belief in self._beliefs.items():
            assert belief.name == name, "a belief is filed under another name"
            assert not self.is_over(name, belief.token), "a term that is over is believed"
            assert belief.token <= self.floor, "a token above the highest ever seen"
            assert self._known.get(name) == belief or len(self._known) >= MAX_NAMES, "a belief that metrics miss"
        assert max(len(self._beliefs), len(self._known), len(self._over)) <= MAX_NAMES, "grown without bound"


def _remember(names: OrderedDict[str, T], name: str, value: T) -> None:
    names[name] = value
    names.move_to_end(name)
    if len(names) > MAX_NAMES:
        names.popitem(last=False)
