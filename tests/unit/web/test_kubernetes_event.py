"""What an Event says, within what the API server takes."""

from dataclasses import replace

import pytest

from poolguard.guard.history import Action
from poolguard.guard.incidents import IncidentKind, IncidentOutcome, Threshold
from poolguard.web.kubernetes_event import NOTE_BYTES, Pod, event_of, micro_time, note_of, reason_of, series_of
from tests.unit.guard.test_incidents import INCIDENT

POD = Pod(name="shop-7d9f", namespace="prod", uid="0f-1")
ENDED = replace(
    INCIDENT, action=Action.ROLLBACK, rule="leaked", threshold=Threshold(limit_seconds=60.0, actual_seconds=61.5)
)
STARVED = replace(
    INCIDENT, kind=IncidentKind.STARVATION, action=None, rule=None, outcome=IncidentOutcome.TIMEOUT, waiter="shop",
    waited_seconds=10.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("incident", "reason"),
    [
        (ENDED, "TransactionRolledBack"),
        (replace(ENDED, action=Action.CANCEL), "StatementCancelled"),
        (replace(ENDED, action=Action.TERMINATE, kind=IncidentKind.FOREIGN), "SessionTerminated"),
        (replace(ENDED, kind=IncidentKind.BY_HAND), "TransactionRolledBack"),
        (STARVED, "PoolExhausted"),
        (replace(ENDED, action=Action.WARN), None),
        (replace(ENDED, outcome=IncidentOutcome.OBSERVED), None),
        (replace(ENDED, outcome=IncidentOutcome.VICTIM_MOVED), None),
        (replace(ENDED, kind=IncidentKind.DEADLOCK, action=None), None),
    ],
)
def test_what_ended_something_and_exhausted_pools_are_told_and_nothing_else(
    incident: object, reason: str | None
) -> None:
    assert reason_of(incident) == reason  # type: ignore[arg-type] # incidents


def test_an_event_is_about_the_pod_with_all_that_the_api_server_asks_for() -> None:
    event = event_of(ENDED, POD, name="shop-7d9f.a-1", now=1_700_000_000.25)
    assert event["metadata"] == {"name": "shop-7d9f.a-1", "namespace": "prod"}
    assert event["regarding"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "shop-7d9f",
        "namespace": "prod",
        "uid": "0f-1",
    }
    assert (event["apiVersion"], event["type"], event["action"]) == ("events.k8s.io/v1", "Warning", "Rollback")
    assert event["eventTime"] == "2023-11-14T22:13:20.250000Z"
    for key in ("reason", "action", "reportingController", "reportingInstance"):
        assert 0 < len(str(event[key])) <= 128


def test_the_note_says_who_and_why_and_what_to_do_without_any_statement() -> None:
    note = note_of(ENDED)
    assert "rolled back a transaction of checkout in pool app by rule leaked after 1m2s (it allows 1m)" in note
    assert note.endswith(f"fix it (incident {ENDED.id})")
    assert "select" not in note
    assert note_of(STARVED).startswith("Pool app: shop waited 10.0s for a server in vain.")


def test_a_note_is_never_too_long_nor_cut_inside_of_a_letter() -> None:
    assert ENDED.transaction is not None
    long = replace(
        ENDED, transaction=replace(ENDED.transaction, application_name="\u00e9" * 256), advice="\u20ac" * 999
    )
    note = note_of(long)
    assert NOTE_BYTES - 3 <= len(note.encode()) <= NOTE_BYTES
    assert note.endswith("...")


def test_a_series_counts_and_names_its_latest_moment() -> None:
    assert series_of(3, 0.0) == {"series": {"count": 3, "lastObservedTime": micro_time(0.0)}}
