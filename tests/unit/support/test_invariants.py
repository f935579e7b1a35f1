"""The checker finds each kind of wrong history, and only those."""

from collections.abc import Sequence

import pytest

from tests.support.history import (
    Beaten,
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
from tests.support.invariants import Belief, beliefs, violations

TTL = 10.0


def granted(
    token: int, at: float, *, holder: str = "", request_id: str = "", new: bool = True, valid_for: float = 9.0
) -> Granted:
    return Granted(
        name="a",
        token=token,
        holder=holder or f"h{token}",
        request_id=request_id or f"r{token}",
        new=new,
        sent_at=at,
        answered_at=at + 0.1,
        valid_for=valid_for,
        ttl=TTL,
    )


def renewed(token: int, at: float, *, holder: str = "", valid_for: float = 9.0) -> Renewed:
    return Renewed(
        name="a",
        token=token,
        holder=holder or f"h{token}",
        sent_at=at,
        answered_at=at + 0.1,
        valid_for=valid_for,
        ttl=TTL,
    )


def lost(token: int, at: float) -> Lost:
    return Lost(name="a", token=token, sent_at=at, answered_at=at + 0.1)


def released(token: int, at: float) -> Released:
    return Released(name="a", token=token, sent_at=at, answered_at=at + 0.1)


def shown(token: int, at: float) -> Shown:
    return Shown(name="a", token=token, sent_at=at, answered_at=at + 0.01)


def wrote(token: int, order: int) -> Wrote:
    return Wrote(name="a", token=token, order=order)


RIGHT: dict[str, Sequence[Event]] = {
    "nothing": [],
    "one term, renewed, released, the next": [granted(1, 0), renewed(1, 5), released(1, 7), granted(2, 7.2)],
    "taken over after its end": [granted(1, 0), granted(2, 10.1)],
    "found again by the same request": [granted(1, 0), granted(1, 0.5, new=False), renewed(1, 3)],
    "told to be lost, then the next": [granted(1, 0), lost(1, 3), granted(2, 3.2)],
    "its holder died": [granted(1, 0), Stopped(name="a", token=1, at=1.0), granted(2, 5)],
    "forced: the token alone tells them apart": [granted(1, 0), Forced(name="a", token=1, at=1.0), granted(2, 2)],
    "renewed after a renewal of unknown outcome": [
        granted(1, 0),
        Unknown(name="a", token=1, sent_at=8, answered_at=9, ttl=TTL),
        renewed(1, 17),
    ],
    "/leader knows of a renewal whose answer was lost": [
        granted(1, 0),
        Unknown(name="a", token=1, sent_at=8, answered_at=9, ttl=TTL),
        shown(1, 12.0),
    ],
    "/leader knows of a term whose answer was lost": [
        Unknown(name="a", token=None, sent_at=0, answered_at=1, ttl=TTL),
        shown(1, 2.0),
        granted(1, 3, new=False),
    ],
    "renewed on another server": [granted(1, 0), FailedOver(at=11.0), renewed(1, 15)],
    "/leader a little before the answer": [shown(1, 0.05), granted(1, 0), shown(1, 9.0)],
    "writes in the order of their terms": [wrote(1, 1), wrote(1, 2), wrote(2, 3)],
    "a leader soon": [Healed(name="a", at=100.0, within=3.0), granted(5, 102.0)],
    "answers that overtake each other": [
        Granted(name="a", token=2, holder="h2", request_id="r2", sent_at=0, answered_at=5, valid_for=1, ttl=TTL),
        granted(1, 1.0, valid_for=2.0),
    ],
    "an attempt in vain": [granted(1, 0), Beaten(name="a", sent_at=1, answered_at=2)],
}

WRONG: dict[str, tuple[str, Sequence[Event]]] = {
    "one token for two holders": ("I1", [granted(1, 0, holder="x"), renewed(1, 1, holder="y")]),
    "one token for two requests": ("I1", [granted(1, 0, holder="x"), granted(1, 1, holder="x", request_id="s")]),
    "a token that comes again": ("I1", [granted(1, 0), released(1, 1), granted(1, 20, request_id="s")]),
    "a token that goes back": ("I1", [granted(7, 0), released(7, 1), granted(6, 20)]),
    "two believe": ("I2", [granted(1, 0), granted(2, 5)]),
    "two believe, by a renewal": ("I2", [granted(1, 0), renewed(1, 5), granted(2, 13.5)]),
    "two believe, the second inside of the first": (
        "I2",
        [granted(1, 0, valid_for=50), granted(2, 5, valid_for=1), lost(1, 45)],
    ),
    "a late write": ("I3", [wrote(1, 1), wrote(2, 2), wrote(1, 3)]),
    "/leader after the end of trust": ("I4", [granted(1, 0), shown(1, 9.2)]),
    "/leader for ever after an answer was lost": (
        "I4",
        [granted(1, 0), Unknown(name="a", token=1, sent_at=8, answered_at=9, ttl=TTL), shown(1, 25.0)],
    ),
    "/leader with another term than the one whose answer was lost": (
        "I4",
        [Unknown(name="a", token=1, sent_at=0, answered_at=1, ttl=TTL), shown(2, 2.0)],
    ),
    "/leader without a term": ("I4", [shown(3, 1.0)]),
    "/leader after the term was given back": ("I4", [granted(1, 0), released(1, 2), shown(1, 2.2)]),
    "renewed after its end": ("I5", [granted(1, 0), renewed(1, 10.2)]),
    "renewed after its end was told": ("I5", [granted(1, 0), lost(1, 2), renewed(1, 2.2)]),
    "renewed although it was released": ("I5", [granted(1, 0), released(1, 2), renewed(1, 2.2)]),
    "found again after it was released": ("I5", [granted(1, 0), released(1, 2), granted(1, 2.2, new=False)]),
    "renewed beside a newer one": ("I5", [granted(1, 0), lost(1, 2), granted(2, 3), renewed(1, 4)]),
    "no leader": ("I7", [granted(1, 0), Healed(name="a", at=5.0, within=3.0)]),
    "a leader too late": ("I7", [Healed(name="a", at=5.0, within=3.0), granted(1, 8.0)]),
    "the leader of another name": ("I7", [Healed(name="b", at=5.0, within=3.0), granted(1, 6.0)]),
    "one request, two terms": (
        "I8",
        [granted(1, 0, request_id="r", holder="h"), granted(2, 20, request_id="r", holder="h")],
    ),
    "one request, twice new": ("I8", [granted(1, 0), granted(1, 0.2)]),
    "a follower that writes": ("I9", [Beaten(name="a", sent_at=1, answered_at=2, wal_bytes=64)]),
}


@pytest.mark.parametrize("events", RIGHT.values(), ids=RIGHT)
def test_a_right_history_passes(events: Sequence[Event]) -> None:
    assert violations(events) == []


@pytest.mark.parametrize(("invariant", "events"), WRONG.values(), ids=WRONG)
def test_a_broken_invariant_is_found(invariant: str, events: Sequence[Event]) -> None:
    assert invariant in {violation.invariant for violation in violations(events)}


def test_every_invariant_has_a_history_that_breaks_it() -> None:
    assert {invariant for invariant, _ in WRONG.values()} == {"I1", "I2", "I3", "I4", "I5", "I7", "I8", "I9"}


def test_beliefs_run_from_answers_to_deadlines_and_end_with_their_holder() -> None:
    events: list[Event] = [
        granted(1, 0),
        renewed(1, 5),
        granted(2, 20),
        renewed(2, 40),
        Stopped(name="a", token=2, at=42.0),
    ]
    assert beliefs(events) == [
        Belief("a", 1, 0.1, 14.0),
        Belief("a", 2, 20.1, 29.0),
        Belief("a", 2, 40.1, 42.0),
    ]
