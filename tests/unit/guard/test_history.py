"""Nothing is done twice; what was not done is tried again, ever more slowly."""

import pytest

from poolguard.guard.history import FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, Action, History, RuleName
from poolguard.ledger.hands import Outcome
from tests.unit.guard.builders import NOW, active, idle

RULE = RuleName.IDLE_IN_TRANSACTION


def test_actions_are_ranked_from_mild_to_harsh() -> None:
    assert sorted(Action, key=lambda action: action.rank) == ["warn", "cancel", "rollback", "terminate"]


def test_retries_come_ever_more_slowly_up_to_a_limit() -> None:
    facts, now, history, pauses = idle(60.0), NOW, History(), []
    for _ in range(12):
        history = history.after(RULE, Action.ROLLBACK, Outcome.REFUSED, facts, seen=now, now=now)
        at = history.retries[RULE, Action.ROLLBACK].at
        assert not history.allows(RULE, Action.ROLLBACK, facts, at - 0.01)
        assert history.allows(RULE, Action.ROLLBACK, facts, at)
        pauses.append(round(at - now, 6))
        now = at
    assert pauses[:4] == [FIRST_RETRY_SECONDS * factor for factor in (1, 2, 4, 8)]
    assert pauses[-1] == LAST_RETRY_SECONDS


def test_success_ends_the_retries() -> None:
    history = History().after(RULE, Action.ROLLBACK, Outcome.FAILED, idle(60.0), seen=NOW, now=NOW)
    history = history.after(RULE, Action.ROLLBACK, Outcome.DONE, idle(60.0), seen=NOW, now=NOW)
    assert history.retries == {}
    assert history.ended


@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.VICTIM_MOVED])
def test_a_cancel_that_came_too_late_is_not_repeated_for_its_statement(outcome: Outcome) -> None:
    history = History().after(RuleName.STATEMENT_AGE, Action.CANCEL, outcome, active(50.0), seen=NOW, now=NOW)
    assert not history.ended
    assert not history.allows(RuleName.STATEMENT_AGE, Action.CANCEL, active(60.0), NOW + 10)
    assert history.allows(RuleName.STATEMENT_AGE, Action.CANCEL, active(1.0), NOW + 10)


def test_the_same_transaction_keeps_its_history_and_a_later_one_does_not() -> None:
    history = History().continued(idle(60.0), NOW).after(RULE, Action.WARN, Outcome.DONE, idle(60.0), seen=NOW, now=NOW)
    assert history.continued(idle(70.0), NOW + 10) is history
    later = history.continued(idle(1.0), NOW + 10)
    assert later.reached == {}
    assert later.is_later_than(idle(60.0), NOW)
    assert not history.is_later_than(idle(70.0), NOW + 10)
