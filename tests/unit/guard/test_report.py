"""From verdicts and orders to incidents."""

import asyncio
from dataclasses import replace

import pytest

from poolguard.guard.history import Action
from poolguard.guard.incidents import IncidentOutcome
from poolguard.guard.locks.state import Blocking
from poolguard.guard.report import noted_outcome
from poolguard.guard.rules import compile_policy
from poolguard.ledger.hands import Outcome
from poolguard.settings.policies import PolicyMode
from tests.unit.guard.builders import LADDERS, Scene, idle, verdict
from tests.unit.guard.locks.builders import backend, tree_of

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


async def test_an_incident_names_those_who_waited_when_it_was_decided_not_when_it_was_done() -> None:
    scene = Scene()
    who = idle(61.0).id
    scene.blocking = {who: Blocking(2, 3.5)}
    scene.trees = {who: tree_of(backend(4711, "idle in transaction", transaction=who), 8, 9)}
    scene.hands.blocked = asyncio.Event()
    await scene.sweep(idle(61.0))
    scene.trees = {}  # they went on, as they should
    scene.hands.blocked.set()
    await scene.settle()
    for incident in scene.book.find():  # the warning, and the rollback
        assert incident.lock_tree is not None, incident.action
        assert [one["pid"] for one in incident.lock_tree["blocked"]] == [8, 9]  # type: ignore[attr-defined] # a list
    assert scene.story()[-1] == ("rollback", "done")


async def test_who_blocks_nobody_has_no_tree() -> None:
    scene = Scene()
    scene.trees = {idle(61.0).id: tree_of(backend(4711))}
    await scene.sweep(idle(61.0))
    assert {incident.lock_tree for incident in scene.book.find()} == {None}
