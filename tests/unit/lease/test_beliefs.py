"""What is passed on when a belief changes."""

import pytest

from poolguard.lease.beliefs import Beliefs
from poolguard.lease.book import Belief, GivenUp
from poolguard.lease.counters import LostReason
from poolguard.lease.terms import TermKey
from tests.support.clock import ManualClock
from tests.support.leases import row


@pytest.fixture
def beliefs() -> Beliefs:
    made = Beliefs(ManualClock())
    made.confirm(row(token=7, valid_for_seconds=15.0), sent_at=1000.0)
    return made


def test_trust_is_in_exactly_one_term(beliefs: Beliefs) -> None:
    assert beliefs.trust_in(row(token=7)) == 13.5
    assert beliefs.trust_in(row(token=8)) == 0.0
    assert beliefs.trust_in(row(name="b")) == 0.0


def test_a_row_that_shows_the_term_as_released_ends_it(beliefs: Beliefs) -> None:
    """Fault 24: a release by force, over another poolguard, is believed when it is seen."""
    beliefs.shown(row(token=7, holder=None))
    assert beliefs.leader("a") is None
    assert beliefs.counters.lost[LostReason.RELEASED] == 1


def test_a_row_that_only_looks_expired_does_not(beliefs: Beliefs) -> None:
    """A renewal may be under way; trust ends by itself, before PostgreSQL lets the term end."""
    beliefs.shown(row(token=7, valid_for_seconds=-1.0))
    assert beliefs.leader("a") is not None


def test_every_end_is_told_with_a_reason_or_without(beliefs: Beliefs) -> None:
    ended: list[Belief] = []
    beliefs.on_ended.append(ended.append)
    beliefs.note(GivenUp(TermKey("a", "pod-1", 7)))
    assert [belief.token for belief in ended] == [7]
    assert sum(beliefs.counters.lost.values()) == 0
