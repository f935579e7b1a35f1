"""From verdicts and orders to incidents."""

from dataclasses import replace

import pytest

from poolguard.guard.history import Action
from poolguard.guard.incidents import IncidentOutcome
from poolguard.guard.report import noted_outcome
from poolguard.guard.rules import compile_policy
from poolguard.ledger.hands import Outcome
from poolguard.settings.policies import PolicyMode
from tests.unit.guard.builders import LADDERS, Scene, idle, verdict

OBSERVE = compile_policy("app", replace(LADDERS, mode=PolicyMode.OBSERVE))


def test_a_warning_is_done_with_being_said_unless_it_is_only_observed() -> None:
    assert noted_outcome(verdict(Action.WARN)) is IncidentOutcome.DONE
    assert noted_outcome(verdict(Action.WARN, rules=OBSERVE)) is IncidentOutcome.OBSERVED
    assert noted_outcome(verdict(Action.ROLLBACK, rules=OBSERVE)) is IncidentOutcome.OBSERVED


@pytest.mark.parametrize(
    ("outcome", "told"),
    [(Outcome.DONE, True), (Outcome.FAILED, True), (Outcome.REFUSED, False), (Outcome.VICTIM_MOVED, False)],
)
async def test_a_client_that_was_not_touched_sees_nothing(outcome: Outcome, told: bool) -> None:
    scene = Scene()
    scene.hands.outcome = outcome
    await scene.sweep(idle(61.0))
    assert (scene.book.find()[0].client_sees is not None) is told


async def test_an_incident_by_hand_has_no_rule_no_threshold_and_no_exemption() -> None:
    scene = Scene()
    scene.transactions = [idle(1.0)]
    incident = await scene.guard.by_hand(idle(1.0).id, Action.TERMINATE, "alice")
    assert (incident.rule, incident.threshold, incident.exemption, incident.kills_left) == (None, None, "", None)
    assert incident.client_sees is not None
    assert (incident.client_sees.sqlstate, incident.client_sees.severity) == ("57000", "FATAL")
