import pytest

from poolguard.client import term
from poolguard.client.term import Term, boottime


def a_term(trusted_until: float) -> Term:
    return Term(name="a", holder="h", token=1, ttl_seconds=15.0, trusted_until=trusted_until)


def test_a_term_is_trusted_up_to_its_deadline_and_not_in_it() -> None:
    assert a_term(10.0).remaining_seconds(9.5) == 0.5
    assert a_term(10.0).remaining_seconds(11.0) == -1.0
    assert a_term(boottime() + 60).trusted
    assert not a_term(boottime()).trusted


def test_two_renewals_may_fail_before_trust_runs_out() -> None:
    assert term.renew_after(15.0) == 5.0


@pytest.mark.parametrize(("remaining", "pause"), [(60.0, 1.0), (2.0, 0.5), (0.01, 0.05), (-1.0, 0.05)])
def test_renewals_that_fail_are_repeated_sooner_as_the_end_comes_nearer(remaining: float, pause: float) -> None:
    assert term.retry_after(remaining) == pause


@pytest.mark.parametrize(("remaining", "seconds"), [(60.0, 2.0), (2.0, 1.0), (0.1, 0.2)])
def test_a_renewal_that_hangs_leaves_time_for_another(remaining: float, seconds: float) -> None:
    assert term.attempt_seconds(remaining) == seconds


@pytest.mark.parametrize(
    ("valid_for", "chance", "pause"), [(0.4, 1.0, 0.4), (0.4, 0.0, 0.3), (60.0, 1.0, 1.0), (0.0, 1.0, 0.05)]
)
def test_contenders_ask_again_when_the_term_may_be_over_and_at_least_each_second(
    valid_for: float, chance: float, pause: float
) -> None:
    assert term.ask_again_after(valid_for, chance) == pytest.approx(pause)
