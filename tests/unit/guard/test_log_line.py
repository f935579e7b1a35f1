"""What an incident says in the log: to somebody who reads the one line and nothing else."""

from dataclasses import replace

import pytest

from poolguard.guard.evidence import party_of
from poolguard.guard.history import Action
from poolguard.guard.incidents import EndedTerm, IncidentKind, IncidentOutcome
from poolguard.guard.log_line import WHOLE, facts, message
from tests.unit.guard.builders import idle
from tests.unit.guard.test_incidents import INCIDENT


def test_only_what_was_ended_is_told_as_ended() -> None:
    told = {action: message(replace(INCIDENT, action=action)) for action in Action}
    assert "nothing was ended" in told[Action.WARN]
    assert "cancelled" in told[Action.CANCEL]
    assert "rolled back" in told[Action.ROLLBACK]
    assert "ended" in told[Action.TERMINATE]


def test_what_is_not_poolguard_s_is_told_as_such() -> None:
    for action in (Action.WARN, Action.CANCEL, Action.TERMINATE):  # there is no rollback for them
        assert "not poolguard's" in message(replace(INCIDENT, kind=IncidentKind.FOREIGN, action=action))


@pytest.mark.parametrize("outcome", [one for one in IncidentOutcome if one is not IncidentOutcome.DONE])
@pytest.mark.parametrize("action", Action)
def test_every_outcome_has_its_own_message_whatever_the_action(outcome: IncidentOutcome, action: Action) -> None:
    others = {message(replace(INCIDENT, outcome=other)) for other in IncidentOutcome if other is not outcome}
    assert message(replace(INCIDENT, outcome=outcome, action=action)) not in {*others, "an incident"}


def test_what_was_left_alone_is_told_with_what_spared_it() -> None:
    spared = replace(INCIDENT, outcome=IncidentOutcome.SPARED, spared_by="superuser")
    assert facts(spared)["spared_by"] == "superuser"
    assert "spared_by" not in facts(INCIDENT)


def test_a_deadlock_was_no_action_of_ours() -> None:
    assert message(replace(INCIDENT, kind=IncidentKind.DEADLOCK, action=None)).startswith("a deadlock: ")


def test_a_lease_that_was_released_by_force_is_named_with_its_holder_and_the_reason() -> None:
    term = EndedTerm(lease="scheduler", holder="pod-1", token=7, ran_on_seconds=1.0)
    incident = replace(INCIDENT, kind=IncidentKind.LEASE, action=None, transaction=None, term=term, reason="it hangs")
    assert message(incident) == "a lease's term was ended by force"
    assert "did not say" in message(replace(incident, outcome=IncidentOutcome.FAILED))
    told = facts(incident)
    assert [told[key] for key in ("lease", "holder", "token", "reason")] == ["scheduler", "pod-1", 7, "it hangs"]


def test_it_names_the_culprit_and_the_advice_before_the_whole_record() -> None:
    told = facts(INCIDENT)
    assert told["application"] == idle(1.0).application_name
    assert (told["state"], told["state_seconds"]) == ("idle in transaction", 61.235)
    assert (told["transaction"], told["advice"]) == (str(idle(1.0).id), "fix it")
    assert list(told)[-1] == WHOLE
    assert told[WHOLE] == INCIDENT.as_json()
    assert "blocking" not in told
    hurts = facts(replace(INCIDENT, transaction=party_of(idle(61.2345, blocking=2, blocking_seconds=3.5))))
    assert (hurts["blocking"], hurts["blocking_seconds"]) == (2, 3.5), "whom it hurts, before the whole record"


def test_of_a_wait_in_vain_it_names_who_waited_and_the_oldest_holder() -> None:
    incident = replace(
        INCIDENT,
        kind=IncidentKind.STARVATION,
        outcome=IncidentOutcome.TIMEOUT,
        action=None,
        rule=None,
        transaction=None,
        waiter="web",
        waited_seconds=10.0,
        holders=(party_of(idle(61.0)), party_of(idle(5.0, 2))),
    )
    told = facts(incident)
    assert (told["waiter"], told["waited_seconds"], told["transaction"]) == ("web", 10.0, str(idle(61.0).id))
    assert not {"rule", "action"} & told.keys(), "what does not apply is left out"
