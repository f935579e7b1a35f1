"""Judges a history of leases: the invariants that must hold whatever died.

I1 at most one (name, token) is accepted, and tokens grow. I2 beliefs in two terms of a name never overlap. I3 no
fenced write with an older token commits after one with a newer. I4 /leader shows a token only inside its belief. I5 a
renewal never revives a term that is over. I7 after the last fault there is soon a leader. I8 a request takes effect at
most once. I9 a follower's attempt changes nothing.

Every rule errs on the side of the accused by what can't be known: when, between request and answer, a thing happened.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final, TypeVar

from tests.support.history import (
    Beaten,
    Confirmed,
    Event,
    FailedOver,
    Forced,
    Granted,
    Healed,
    Lost,
    Released,
    Renewed,
    Shown,
    Stopped,
    Unknown,
    Wrote,
)

T = TypeVar("T")
Term = tuple[str, int]

LATE_SECONDS: Final = 5.0
"""How long after its caller gave up PostgreSQL may still carry out a statement (its statement_timeout is 3 s)."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One invariant that does not hold, and what shows it."""

    invariant: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.evidence}"


@dataclass(frozen=True, slots=True)
class Belief:
    """From *begin* to *end* somebody relied on *token*."""

    name: str
    token: int
    begin: float
    end: float


def violations(history: Iterable[Event]) -> list[Violation]:
    """Everything that is wrong with *history*; nothing: it is a right one."""
    events = list(history)
    return [Violation(name, evidence) for name, rule in RULES.items() for evidence in rule(events)]


def of(events: Iterable[object], kind: type[T]) -> list[T]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def beliefs(events: Sequence[Event]) -> list[Belief]:
    """Who relied on which term, and when: from each answer to its deadline, or to where the holder stopped."""
    stopped = _ends(events)
    found: list[Belief] = []
    for (name, token), confirmed in _by_term(of(events, Confirmed)).items():
        end_of_all = stopped.get((name, token), float("inf"))
        pieces = sorted((each.answered_at, min(each.trusted_until, end_of_all)) for each in confirmed)
        merged: list[tuple[float, float]] = []
        for begin, end in pieces:
            if end <= begin:
                continue
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((begin, end))
        found += [Belief(name, token, begin, end) for begin, end in merged]
    return found


def _ends(events: Sequence[Event]) -> Mapping[Term, float]:
    """When each term's holder stopped for good. Of a forced term the rest is excused: nothing but the token helps."""
    ends: dict[Term, float] = {}
    for event in events:
        match event:
            case Lost():
                _no_later(ends, event, event.answered_at)
            case Released():
                _no_later(ends, event, event.sent_at)
            case Stopped() | Forced():
                _no_later(ends, event, event.at)
            case _:
                pass
    return ends


def _known_over(events: Sequence[Event]) -> Mapping[Term, float]:
    """From when on somebody had been told that a term is over."""
    over: dict[Term, float] = {}
    for event in events:
        if isinstance(event, Lost | Released):
            _no_later(over, event, event.answered_at)
    return over


def _no_later(ends: dict[Term, float], event: Lost | Released | Stopped | Forced, at: float) -> None:
    term = (event.name, event.token)
    ends[term] = min(at, ends.get(term, float("inf")))


def _by_term(confirmed: Iterable[Confirmed]) -> Mapping[Term, list[Confirmed]]:
    grouped: dict[Term, list[Confirmed]] = defaultdict(list)
    for each in confirmed:
        grouped[each.name, each.token].append(each)
    return grouped


def one_holder_and_growing_tokens(events: Sequence[Event]) -> Iterator[str]:
    """I1."""
    for (name, token), confirmed in _by_term(of(events, Confirmed)).items():
        holders = {each.holder for each in confirmed}
        requests = {each.request_id for each in of(confirmed, Granted)}
        if len(holders) > 1 or len(requests) > 1:
            yield f"{name}: {token} was accepted from {sorted(holders)}, requests {sorted(requests)}"
    firsts: dict[Term, Granted] = {}
    for granted in sorted(of(events, Granted), key=lambda each: each.sent_at):
        firsts.setdefault((granted.name, granted.token), granted)
    by_name: dict[str, list[Granted]] = defaultdict(list)
    for first in firsts.values():
        by_name[first.name].append(first)
    for name, grants in by_name.items():
        newest = 0
        answered = sorted(grants, key=lambda each: each.answered_at)
        position = 0
        for later in sorted(grants, key=lambda each: each.sent_at):
            while position < len(answered) and answered[position].answered_at < later.sent_at:
                newest = max(newest, answered[position].token)
                position += 1
            if later.token <= newest:
                yield f"{name}: token {later.token} was granted after {newest}"


def beliefs_never_overlap(events: Sequence[Event]) -> Iterator[str]:
    """I2."""
    by_name: dict[str, list[Belief]] = defaultdict(list)
    for belief in beliefs(events):
        by_name[belief.name].append(belief)
    for name, all_of_name in by_name.items():
        in_order = sorted(all_of_name, key=lambda each: each.begin)
        reaching = in_order[0]
        for belief in in_order[1:]:
            if belief.begin < reaching.end and belief.token != reaching.token:
                both = min(belief.end, reaching.end) - belief.begin
                yield f"{name}: {reaching.token} and {belief.token} were both believed for {both:.3f} s"
            reaching = max(reaching, belief, key=lambda each: each.end)


def writes_are_fenced(events: Sequence[Event]) -> Iterator[str]:
    """I3."""
    newest: dict[str, int] = defaultdict(int)
    for wrote in sorted(of(events, Wrote), key=lambda each: each.order):
        if wrote.token < newest[wrote.name]:
            yield f"{wrote.name}: a write of {wrote.token} was committed after one of {newest[wrote.name]}"
        newest[wrote.name] = max(newest[wrote.name], wrote.token)


def leaders_are_believed(events: Sequence[Event]) -> Iterator[str]:
    """I4. The sidecar counts from its own request to PostgreSQL: not before ours to it, nor after its answer."""
    over = _known_over(events)
    terms = _by_term(of(events, Confirmed))
    maybe = of(events, Unknown)
    for shown in of(events, Shown):
        term = (shown.name, shown.token)
        inside = any(
            shown.answered_at >= each.sent_at and shown.sent_at <= each.answered_at + each.valid_for
            for each in terms.get(term, [])
        ) or any(
            # What its caller did not hear of, the sidecar may have.
            shown.name == each.name
            and each.token in (shown.token, None)
            and each.sent_at <= shown.answered_at
            and shown.sent_at <= each.answered_at + LATE_SECONDS + each.ttl
            for each in maybe
        )
        if not inside or shown.sent_at > over.get(term, float("inf")):
            yield f"{shown.name}: /leader showed {shown.token} at {shown.sent_at:.3f}, outside of its belief"


def nothing_is_revived(events: Sequence[Event]) -> Iterator[str]:
    """I5."""
    over = _known_over(events)
    grants = of(events, Granted)
    for confirmed in of(events, Confirmed):
        if confirmed.sent_at > over.get((confirmed.name, confirmed.token), float("inf")):
            yield f"{confirmed.name}: {confirmed.token} was confirmed after its end was told"
    for renewed in of(events, Renewed):
        newer = [g for g in grants if g.name == renewed.name and g.token > renewed.token]
        if any(each.answered_at < renewed.sent_at for each in newer):
            yield f"{renewed.name}: {renewed.token} was renewed after a newer term had begun"
    yield from _expired_and_renewed(events)


def _expired_and_renewed(events: Sequence[Event]) -> Iterator[str]:
    maybe: dict[Term, list[Unknown]] = defaultdict(list)
    for unknown in of(events, Unknown):
        if unknown.token is not None:
            maybe[unknown.name, unknown.token].append(unknown)
    failovers = [each.at for each in of(events, FailedOver)]
    for (name, token), confirmed in _by_term(of(events, Confirmed)).items():
        in_order = sorted(confirmed, key=lambda each: each.sent_at)
        for before, after in pairwise(in_order):
            ended = before.answered_at + before.ttl
            for unknown in maybe[name, token]:
                if before.sent_at <= unknown.sent_at <= after.sent_at:
                    ended = max(ended, unknown.answered_at + LATE_SECONDS + before.ttl)
            excused = any(before.sent_at <= at <= after.answered_at for at in failovers)
            if after.sent_at > ended and not excused:
                yield f"{name}: {token} was renewed {after.sent_at - ended:.3f} s after it had expired"


def a_leader_comes_soon(events: Sequence[Event]) -> Iterator[str]:
    """I7."""
    confirmed = of(events, Confirmed)
    for healed in of(events, Healed):
        latest = healed.at + healed.within
        if not any(each.name == healed.name and healed.at < each.answered_at <= latest for each in confirmed):
            yield f"{healed.name} had no leader within {healed.within:g} s of {healed.at:.3f}"


def requests_take_effect_once(events: Sequence[Event]) -> Iterator[str]:
    """I8."""
    effects: dict[tuple[str, str], list[Granted]] = defaultdict(list)
    for granted in of(events, Granted):
        effects[granted.name, granted.request_id].append(granted)
    for (name, request_id), grants in effects.items():
        if any(one.token != other.token for one, other in combinations(grants, 2)):
            yield f"{name}: request {request_id} got tokens {sorted({each.token for each in grants})}"
        elif sum(each.new for each in grants) > 1:
            yield f"{name}: request {request_id} was told twice that its term is new"


def followers_write_nothing(events: Sequence[Event]) -> Iterator[str]:
    """I9."""
    for beaten in of(events, Beaten):
        if beaten.wal_bytes:
            yield f"{beaten.name}: an attempt in vain wrote {beaten.wal_bytes} bytes of WAL"


RULES: Final[Mapping[str, Callable[[Sequence[Event]], Iterator[str]]]] = {
    "I1": one_holder_and_growing_tokens,
    "I2": beliefs_never_overlap,
    "I3": writes_are_fenced,
    "I4": leaders_are_believed,
    "I5": nothing_is_revived,
    "I7": a_leader_comes_soon,
    "I8": requests_take_effect_once,
    "I9": followers_write_nothing,
}
