"""The JSON of an incident: stable, versioned, plain."""

import json
from dataclasses import replace

from poolguard.guard.evidence import party_of
from poolguard.guard.history import Action, RuleName
from poolguard.guard.incidents import (
    SCHEMA_VERSION,
    Classification,
    Incident,
    IncidentKind,
    IncidentMode,
    IncidentOutcome,
    Matched,
    TimelineStep,
    iso_time,
)
from poolguard.ledger.hands import Outcome
from poolguard.wire.fingerprint import fingerprint
from tests.unit.guard.builders import idle

INCIDENT = Incident(
    id="x-1",
    at=1_700_000_000.1234,
    kind=IncidentKind.ACTION,
    mode=IncidentMode.ENFORCE,
    pool="app",
    policy="app",
    settings_hash="abc",
    rule=RuleName.IDLE_IN_TRANSACTION,
    action=Action.ROLLBACK,
    outcome=IncidentOutcome.DONE,
    outcome_seconds=0.00123,
    transaction=party_of(idle(61.23456)),
    timeline=(
        TimelineStep(incident="x-0", at=1_699_999_950.0, rule="r", action=Action.WARN, outcome=IncidentOutcome.DONE),
    ),
    classification=Classification.LEAK,
    advice="fix it",
)


def test_json_has_exactly_these_fields() -> None:
    """A field that goes or is renamed breaks whoever reads the log: raise SCHEMA_VERSION, or don't."""
    assert SCHEMA_VERSION == 1
    assert set(INCIDENT.as_json()) == {
        "version",
        "id",
        "at",
        "time",
        "kind",
        "mode",
        "pool",
        "policy",
        "settings_hash",
        "rule",
        "action",
        "outcome",
        "outcome_seconds",
        "actor",
        "reason",
        "term",
        "threshold",
        "matched",
        "also_matched",
        "spared_by",
        "transaction",
        "backend",
        "lock_tree",
        "waited_seconds",
        "waiter",
        "holders",
        "holders_total",
        "repeats",
        "pool_state",
        "client_sees",
        "timeline",
        "kills_left",
        "classification",
        "advice",
        "exemption",
    }


def test_json_is_made_of_plain_rounded_values() -> None:
    plain = json.loads(json.dumps(INCIDENT.as_json()))
    assert plain == INCIDENT.as_json()
    assert (plain["version"], plain["rule"], plain["action"]) == (1, "idle_in_transaction", "rollback")
    assert (plain["time"], plain["at"]) == ("2023-11-14T22:13:20.123Z", 1700000000.123)
    assert plain["transaction"]["phase_seconds"] == 61.235
    assert plain["transaction"]["fingerprints"][-1]["text"] == "select ?"
    assert plain["timeline"] == [
        {
            "incident": "x-0",
            "at": 1699999950.0,
            "time": "2023-11-14T22:12:30.000Z",
            "rule": "r",
            "action": "warn",
            "outcome": "done",
        }
    ]


def test_every_outcome_of_hands_is_one_of_incidents() -> None:
    assert {outcome.value for outcome in Outcome} <= {outcome.value for outcome in IncidentOutcome}


def test_times_are_said_in_utc() -> None:
    assert iso_time(0.0) == "1970-01-01T00:00:00.000Z"


def test_where_texts_are_not_to_be_shown_fingerprints_stand_for_them() -> None:
    """supervision 6: in the transaction, the holders, the rule that found one, and the tree of locks."""
    assert INCIDENT.transaction is not None
    secret = fingerprint("select secret")
    party = replace(INCIDENT.transaction, fingerprints=(secret,))
    root = {"pid": 1, "statement": {"fingerprint": "abc", "text": "select secret"}, "more": None}
    blocked = [{"pid": 2, "statement": {"fingerprint": "def", "text": "select secret"}}, {"pid": 3, "statement": None}]
    incident = replace(
        INCIDENT,
        transaction=party,
        holders=(party,),
        matched=(
            Matched(key="statement", wanted="^select", found="select secret"),
            Matched(key="pool", wanted="app", found="app"),
        ),
        lock_tree={"root": root, "blocked": blocked, "waiters": 2},
    ).without_text()
    shown = incident.as_json()
    assert "secret" not in json.dumps(shown)
    for told in (incident.transaction, incident.holders[0]):
        assert told is not None
        assert told.fingerprints == ((secret.id, secret.id),)
        assert told.tags == party.tags
    assert incident.matched[0].found == "omitted"
    assert incident.matched[1].found == "app"
    tree = incident.lock_tree
    assert tree is not None
    assert tree["root"] == {**root, "statement": {"fingerprint": "abc", "text": "abc"}}
    assert incident.without_text() == incident
