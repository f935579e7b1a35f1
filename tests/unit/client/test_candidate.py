from itertools import count

import pytest

from poolguard.client.candidate import Candidate, runs_for
from poolguard.client.term import Term, boottime
from poolguard.core.errors import (
    InvalidLease,
    LeaseBusy,
    LeaseHeld,
    LeaseHeldOff,
    LeaseLost,
    LeaseUnavailable,
    LeaseUnknown,
)


def candidate() -> Candidate:
    numbers = count(1)
    return Candidate(chance=lambda: 0.5, new_id=lambda: f"r{next(numbers)}")


def term(seconds: float) -> Term:
    return Term(name="a", holder="h", token=1, ttl_seconds=15.0, trusted_until=boottime() + seconds)


def test_a_term_that_runs_elects() -> None:
    assert candidate().weigh(term(10.0)) is None


@pytest.mark.parametrize("error", [LeaseUnknown("?"), LeaseUnavailable("no"), LeaseBusy("full")])
def test_the_same_request_is_repeated_until_its_outcome_is_known(error: Exception) -> None:
    stands = candidate()
    assert stands.weigh(error) == 0.5  # type: ignore[arg-type]
    assert stands.request_id == "r1"


def test_the_same_request_waits_while_another_term_runs() -> None:
    stands = candidate()
    assert stands.weigh(LeaseHeld("held", holder="x", valid_for_ms=400)) == pytest.approx(0.35)
    assert stands.request_id == "r1"


@pytest.mark.parametrize("outcome", [LeaseLost("spent", holder=None, valid_for_ms=0), term(-1.0)])
def test_a_request_whose_term_is_over_is_followed_by_another(outcome: LeaseLost | Term) -> None:
    stands = candidate()
    assert stands.weigh(outcome) == 0.0
    assert stands.request_id == "r2"


def test_only_a_term_that_runs_is_worth_watching() -> None:
    assert runs_for(LeaseHeld("held", holder="x", valid_for_ms=400)) == 0.4
    assert runs_for(LeaseHeldOff("stepped down", holder=None, valid_for_ms=400)) is None
    assert runs_for(LeaseLost("over", holder="x", valid_for_ms=400)) is None
    assert runs_for(LeaseUnknown("?")) is None


def test_contenders_that_hear_of_a_release_do_not_ask_in_the_same_moment() -> None:
    assert candidate().spread() == 0.01


def test_a_request_that_is_wrong_is_not_repeated() -> None:
    with pytest.raises(InvalidLease):
        candidate().weigh(InvalidLease("ttl"))
