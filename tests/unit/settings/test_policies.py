"""What the three default policies promise, and what no policy may say."""

import pytest

from poolguard.settings.policies import IdleBlocker, Ladder, Policy, default_policies

RIVER_DEADLINE_SECONDS = 5.0


def test_the_elections_policy_is_done_before_the_next_attempt_of_a_client_with_a_deadline_of_5_s() -> None:
    election = default_policies()["election"]
    assert election.idle_in_transaction is not None
    assert election.transaction_age is not None
    assert (election.idle_in_transaction.rollback or 0) < RIVER_DEADLINE_SECONDS
    assert (election.transaction_age.cancel or 0) < RIVER_DEADLINE_SECONDS


def test_no_default_policy_ends_a_statement_of_an_applications_pool() -> None:
    for name in ("app", "jobs"):
        policy = default_policies()[name]
        for ladder in (policy.transaction_age, policy.statement_age):
            assert ladder is None or (ladder.cancel, ladder.rollback, ladder.terminate) == (None, None, None)


@pytest.mark.parametrize("ladder", ["idle_in_transaction", "transaction_age", "statement_age", "checkout_age"])
def test_nought_does_not_end_everything_at_once(ladder: str) -> None:
    """In PostgreSQL's timeouts 0 means off: who writes that here must not lose every transaction."""
    with pytest.raises(ValueError, match=rf"{ladder}\.terminate is 0s, .* leave the step out"):
        Policy(**{ladder: Ladder(warn=0.0, terminate=0.0)})  # type: ignore[arg-type] # a ladder
    Policy(**{ladder: Ladder(warn=0.0)})  # type: ignore[arg-type] # a ladder
    Policy(idle_blocker=IdleBlocker(rollback=0.0))  # it is about those who block, and only those
