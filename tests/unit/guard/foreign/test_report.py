"""What an incident of somebody else's backend holds."""

from poolguard.guard.foreign.report import incident_of
from poolguard.guard.foreign.suspects import Suspects
from poolguard.guard.history import Action
from poolguard.guard.incidents import Incident, IncidentOutcome
from poolguard.guard.locks.graph import LockGraph
from poolguard.guard.locks.tell import SHOWN_WAITERS
from poolguard.guard.rules import Verdict, compile_policy
from poolguard.settings.foreign import ForeignBlockers, ForeignRule, ForeignThen, ForeignWhen
from tests.unit.guard.foreign.builders import OURS, graph, psql
from tests.unit.guard.locks.builders import backend, graph_of, wait

RULE = ForeignRule(name="psql", when=ForeignWhen(user=("dev",)), then=ForeignThen(terminate=5.0))
RULES = compile_policy("foreign_blockers", ForeignBlockers(rules=(RULE,)).as_policy())


def told(found: LockGraph, outcome: IncidentOutcome) -> Incident:
    (suspect,) = Suspects().read(found, 1000.0, ())
    verdict = Verdict(
        transaction=suspect.transaction,
        rules=RULES,
        of=RULES.rules[0],
        action=Action.TERMINATE,
        limit_seconds=5.0,
        actual_seconds=12.0,
    )
    return incident_of(suspect, verdict, outcome, incident_id="a-1", at=0.0, settings_hash="abc", kills_left=4)


def test_only_the_first_waiters_are_shown_and_all_are_counted() -> None:
    pids = range(2, 102)
    waiting = [backend(pid, pool="app", transaction=OURS) for pid in pids]
    incident = told(graph_of([wait(pid, 1) for pid in pids], psql(), *waiting), IncidentOutcome.DONE)
    assert incident.lock_tree is not None
    assert incident.lock_tree["waiters"] == 100
    assert len(incident.lock_tree["blocked"]) == SHOWN_WAITERS  # type: ignore[arg-type] # a list
    assert incident.transaction is not None
    assert incident.transaction.blocking == 100


def test_a_client_that_was_left_alone_sees_nothing() -> None:
    assert told(graph(psql()), IncidentOutcome.SPARED).client_sees is None
    assert told(graph(psql()), IncidentOutcome.DONE).client_sees is not None


def test_it_names_the_statement_without_its_literals() -> None:
    incident = told(graph(psql()), IncidentOutcome.DONE)
    assert incident.transaction is not None
    assert [one.text for one in incident.transaction.fingerprints] == ["update item set n = ?"]
    assert (incident.transaction.phase, incident.transaction.client_address) == (
        "idle in transaction",
        "10.0.0.9:51234",
    )


def test_what_can_not_be_seen_is_said_to_be_so() -> None:
    incident = told(graph(psql(None, sql="")), IncidentOutcome.NO_PRIVILEGE)
    assert incident.transaction is not None
    assert incident.transaction.phase == "not to be seen"
    assert "pg_read_all_stats" in incident.advice
