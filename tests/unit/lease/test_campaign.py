"""What is done next for an application that campaigns."""

from math import inf

import pytest

from poolguard.lease.campaign import Campaign, End, GiveUp, Phase, Renew, Rest, Try
from poolguard.lease.terms import TermKey
from tests.support.leases import wish

TERM = TermKey("a", "pod-1", 7)


def campaign(liveness_seconds: float = 100.0, **given: object) -> Campaign:
    return Campaign(wish(ttl_seconds=15.0), liveness_seconds, proven_at=0.0, **given)  # type: ignore[arg-type]


def leading() -> Campaign:
    made = campaign()
    made.granted(TERM, sent_at=0.0)
    return made


def test_it_tries_at_once() -> None:
    assert campaign().step(now=0.0) == Try()


def test_a_refused_one_tries_when_the_other_term_ends_or_the_lease_looks_free() -> None:
    made = campaign()
    made.refused(for_seconds=10.0, now=0.0, jitter=1.0)
    assert made.step(now=1.0) == Rest(10.25)
    assert made.step(now=10.25) == Try()
    made.news(now=1.0)
    assert made.step(now=1.0) == Try()


def test_a_term_is_renewed_each_third_of_its_time_from_when_the_request_was_sent() -> None:
    made = leading()
    assert made.phase is Phase.LEADING
    assert made.step(now=4.9) == Rest(5.0)
    assert made.step(now=5.0) == Renew()
    made.renewed(sent_at=5.0)
    assert made.step(now=6.0) == Rest(10.0)


def test_a_renewal_without_answer_is_repeated_soon_and_then_less_often() -> None:
    made, pauses = leading(), []
    for _ in range(5):
        made.unanswered(now=5.0)
        pauses.append(made.renew_at - 5.0)
    assert pauses == [0.25, 0.5, 1.0, 1.5, 1.5]


def test_without_postgresql_news_start_no_attempts() -> None:
    made = campaign()
    made.unanswered(now=0.0)
    made.unanswered(now=0.0)
    made.news(now=0.0)
    assert made.step(now=0.0) == Rest(0.5)


def test_a_lost_term_is_campaigned_for_again() -> None:
    made = leading()
    made.lost(now=6.0)
    assert (made.phase, made.term, made.step(now=6.0)) == (Phase.WAITING, None, Try())


@pytest.mark.parametrize("leads", [True, False])
def test_without_proof_it_gives_up_whatever_else_is_due(leads: bool) -> None:
    made = campaign(liveness_seconds=5.0)
    if leads:
        made.granted(TERM, sent_at=0.0)
    made.proven(now=1.0)
    made.proven(now=0.5)
    assert made.proof_ends_at == 6.0
    assert made.step(now=6.0) == GiveUp()


def test_an_open_stream_is_proof_unless_the_application_is_checked() -> None:
    assert campaign(streams=1).proof_ends_at == inf
    assert campaign(streams=1, checked=True).proof_ends_at == 100.0


def test_an_ended_one_takes_no_step() -> None:
    made = leading()
    made.ended(End.WITHDRAWN)
    assert (made.phase, made.term, made.end) == (Phase.ENDED, None, End.WITHDRAWN)
    with pytest.raises(AssertionError):
        made.step(now=0.0)
