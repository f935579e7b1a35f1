"""What the three default policies promise."""

from poolguard.settings.policies import default_policies

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
