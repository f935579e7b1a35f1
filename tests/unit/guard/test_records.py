"""Histories and timelines: bounded by who holds a server, and never of the wrong transaction."""

from dataclasses import replace

from poolguard.guard.history import Action, RuleName
from poolguard.guard.records import MAX_TIMELINE, Records
from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import Outcome
from tests.unit.guard.builders import NOW, Scene, idle, verdict

RULE = RuleName.IDLE_IN_TRANSACTION


def warned(records: Records, facts: Transaction, *, seen: float = NOW) -> None:
    records.note(verdict(Action.WARN, facts, rule=RULE), Outcome.DONE, seen=seen, now=seen)


def test_who_holds_nothing_any_more_is_forgotten() -> None:
    records = Records()
    warned(records, idle(60.0, 1))
    warned(records, idle(60.0, 2))
    records.purge({idle(60.0, 2).id})
    assert len(records) == 1
    assert records.history(idle(60.0, 1).id).reached == {}
    assert records.history(idle(60.0, 2).id).reached == {RULE: Action.WARN}


def test_a_late_outcome_does_not_touch_the_next_transaction_of_the_checkout() -> None:
    """The rollback of a pinned session was done, and its client began again before anybody was told."""
    records = Records()
    warned(records, idle(1.0), seen=NOW + 100)
    records.note(verdict(facts=idle(60.0), rule=RULE), Outcome.DONE, seen=NOW, now=NOW + 100)
    records.ended(idle(60.0), seen=NOW)
    assert not records.history(idle(1.0).id).ended


def test_an_operators_end_counts_as_ended() -> None:
    records = Records()
    records.ended(idle(60.0), seen=NOW)
    assert records.history(idle(60.0).id).ended


def test_what_is_withheld_is_new_once_for_each_step() -> None:
    records = Records()
    assert records.withhold(idle(60.0), RULE, Action.ROLLBACK, seen=NOW)
    assert not records.withhold(idle(61.0), RULE, Action.ROLLBACK, seen=NOW + 1)
    assert records.withhold(idle(62.0), RULE, Action.TERMINATE, seen=NOW + 2)


def test_settings_with_another_mode_judge_a_pool_afresh() -> None:
    records = Records()
    warned(records, idle(60.0, 1, pool="app"))
    warned(records, idle(60.0, 2, pool="jobs"))
    records.keep(idle(60.0, 2, pool="jobs"), replace(records.history(idle(60.0, 2).id), exempt=True))
    records.settings_changed({"app"})
    assert records.history(idle(60.0, 1).id).reached == {}
    assert records.history(idle(60.0, 2).id).reached == {RULE: Action.WARN}
    assert not records.history(idle(60.0, 2).id).exempt


async def test_timeline_keeps_the_latest_steps_of_one_transaction() -> None:
    scene, records = Scene(), Records()
    await scene.sweep(idle(11.0))
    (incident,) = scene.book.find()
    records.add_to_timeline(idle(11.0).id, incident)
    assert records.timeline(idle(11.0).id) == ()  # of nobody that is known
    warned(records, idle(11.0))
    for _ in range(MAX_TIMELINE + 5):
        records.add_to_timeline(idle(11.0).id, incident)
    timeline = records.timeline(idle(11.0).id)
    assert len(timeline) == MAX_TIMELINE
    assert (timeline[0].incident, timeline[0].rule, timeline[0].action) == (incident.id, RULE, Action.WARN)
    warned(records, idle(1.0), seen=NOW + 100)
    assert records.timeline(idle(11.0).id) == ()
