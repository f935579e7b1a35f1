"""The ring of incidents, its filters, its stream, and starvation."""

import asyncio
import logging
from dataclasses import replace

import pytest

from poolguard.guard.book import KEPT, NAMED_HOLDERS, STARVATION_SECONDS, STREAM_LENGTH, IncidentBook
from poolguard.guard.clients import ClientKey
from poolguard.guard.errors import ErrorBook
from poolguard.guard.history import Action, RuleName
from poolguard.guard.incidents import EndedTerm, Incident, IncidentOutcome
from poolguard.guard.log_line import message
from poolguard.pool.state import Refusal
from tests.support.clock import ManualClock
from tests.support.snapshots import pool_snapshot
from tests.unit.guard.builders import active, idle
from tests.unit.guard.locks.builders import backend, tree_of
from tests.unit.guard.test_incidents import INCIDENT


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def book(clock: ManualClock) -> IncidentBook:
    return IncidentBook(clock, lambda name: pool_snapshot(name, size=2, held=2), settings_hash="abc")


def recorded(book: IncidentBook, *incidents: Incident) -> None:
    for incident in incidents:
        book.record(incident)


def test_ids_are_never_used_twice(book: IncidentBook, clock: ManualClock) -> None:
    later = ManualClock(clock.monotonic() + 60)
    other = IncidentBook(later, lambda _: None)
    assert len({book.new_id() for _ in range(100)} | {other.new_id() for _ in range(100)}) == 200


def test_only_the_latest_are_kept(book: IncidentBook) -> None:
    for number in range(KEPT + 5):
        book.record(replace(INCIDENT, id=str(number)))
    assert len(book.find()) == KEPT
    assert book.find()[0].id == str(KEPT + 4)
    assert book.get("4") is None
    assert book.get("5") is not None
    assert book.recorded_total == KEPT + 5


def test_filters_are_anded_and_the_newest_comes_first(book: IncidentBook) -> None:
    one = replace(INCIDENT, id="1", at=10.0)
    two = replace(INCIDENT, id="2", at=20.0, pool="jobs", action=Action.WARN)
    three = replace(INCIDENT, id="3", at=30.0, rule=RuleName.STATEMENT_AGE, outcome=IncidentOutcome.FAILED)
    recorded(book, one, two, three)
    assert book.find() == [three, two, one]
    assert book.find(pool="app") == [three, one]
    assert book.find(rule="idle_in_transaction") == [two, one]
    assert book.find(action="rollback", outcome="done") == [one]
    assert book.find(since=20.0) == [three, two]
    assert book.find(pool="none") == []


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (IncidentOutcome.DONE, logging.WARNING),
        (IncidentOutcome.FAILED, logging.ERROR),
        (IncidentOutcome.BUDGET, logging.WARNING),
        (IncidentOutcome.OBSERVED, logging.INFO),
    ],
)
def test_each_incident_is_one_log_line_without_literals(
    book: IncidentBook, caplog: pytest.LogCaptureFixture, outcome: IncidentOutcome, level: int
) -> None:
    caplog.set_level(logging.DEBUG, "poolguard")
    incident = replace(INCIDENT, outcome=outcome)
    book.record(incident)
    (line,) = caplog.records
    assert (line.levelno, line.message) == (level, message(incident))
    assert vars(line)["incident"] == incident.as_json()
    assert "secret" not in str(vars(line))


async def test_streams_get_what_is_recorded_while_they_are_open(book: IncidentBook) -> None:
    book.record(INCIDENT)
    with book.subscribe() as stream:
        book.record(replace(INCIDENT, id="seen"))
        assert (await anext(aiter(stream))).id == "seen"
    book.record(INCIDENT)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await anext(aiter(stream))


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(book: IncidentBook) -> None:
    with book.subscribe() as stream:
        for number in range(STREAM_LENGTH + 3):
            book.record(replace(INCIDENT, id=str(number)))
        assert (await anext(aiter(stream))).id == "3"
        assert stream.missed == 3


def test_starvation_names_the_oldest_holders_and_what_to_do(book: IncidentBook) -> None:
    holders = [idle(60.0 - session, session) for session in range(1, 9)]
    incident = book.starved("app", 10.0, Refusal.TIMEOUT, holders)
    assert (incident.kind, incident.outcome, incident.waited_seconds) == ("starvation", "timeout", 10.0)
    assert [holder.id for holder in incident.holders] == [f"{session}-1" for session in range(1, NAMED_HOLDERS + 1)]
    assert [each.text for each in incident.holders[0].fingerprints] == ["select ?"]
    assert incident.holders_total == 8
    assert incident.pool_state is not None
    assert incident.pool_state.utilisation == 1.0
    assert incident.client_sees is not None
    assert incident.client_sees.sqlstate == "53300"
    assert incident.classification == "leaks_hold_pool"
    assert book.get(incident.id) is incident


def test_starvation_says_who_waited_and_the_cause_where_it_can_be_told(book: IncidentBook) -> None:
    holders = [idle(10.2, 1), idle(9.0, 2)]
    waiter = ClientKey("checkout", "bob", "127.0.0.1")
    incident = book.starved("app", 10.0, Refusal.TIMEOUT, holders, waiter=waiter)
    assert (incident.waiter, incident.classification) == ("checkout", "self_deadlock")


def test_a_pool_that_waits_for_a_lock_names_the_root_and_not_only_its_innocent_holders(
    book: IncidentBook, caplog: pytest.LogCaptureFixture
) -> None:
    holders = [active(10.0, 1), active(9.0, 2)]
    ids = {holder.id for holder in holders}
    root = backend(7, "idle in transaction", application_name="lunch", sql="update t set a = 'x'", state_seconds=34.2)
    told = book.starved(
        "app",
        10.0,
        Refusal.TIMEOUT,
        holders,
        blocked=ids,
        tree_behind=lambda who: tree_of(root) if who == ids else None,
    )
    assert told.classification == "locks_hold_pool"
    assert told.advice.endswith(' It is pid 7 ("lunch", client backend): idle in transaction for 34.2s.')
    assert told.lock_tree is not None
    assert told.lock_tree["root"]["statement"]["text"] == "update t set a = ?"  # type: ignore[index] # plain values
    assert caplog.records[-1].__dict__["advice"] == told.advice


def test_a_deadlock_is_an_incident_with_its_parties_and_no_literal(book: IncidentBook) -> None:
    one, two = idle(1.0, 1, backend_pid=1), idle(1.0, 2, backend_pid=2)
    detail = (
        "Process 1 waits for ShareLock; blocked by process 2.\nProcess 2 waits for ShareLock; blocked by process 1."
    )
    ErrorBook(book.deadlocked).seen(
        one, {"C": "40P01", "D": detail, "W": 'while locking tuple (0,1) in relation "jobs"'}, [one, two]
    )
    (incident,) = book.find()
    assert (incident.kind, incident.classification, incident.actor) == ("deadlock", "deadlock", "postgresql")
    assert [party.id for party in incident.holders] == ["1-1", "2-1"]
    assert incident.advice.endswith(' It was about relation "jobs".')
    assert "secret" not in str(incident.as_json())


@pytest.mark.parametrize(("done", "outcome"), [(True, "done"), (False, "failed")])
def test_a_release_by_force_is_an_incident_with_who_why_and_whose(book: IncidentBook, done: bool, outcome: str) -> None:
    term = EndedTerm(lease="scheduler", holder="pod-1", token=7, ran_on_seconds=12.3456)
    told = book.lease_forced(term, actor="alice (::1)", reason="it hangs", done=done)
    assert book.find() == [told]
    shown = told.as_json()
    assert (shown["kind"], shown["outcome"], shown["actor"], shown["reason"]) == (
        "lease",
        outcome,
        "alice (::1)",
        "it hangs",
    )
    assert shown["term"] == {"lease": "scheduler", "holder": "pod-1", "token": 7, "ran_on_seconds": 12.346}


def test_a_full_queue_is_starvation_too(book: IncidentBook) -> None:
    assert book.starved("app", 0.0, Refusal.QUEUE_FULL, []).outcome == "queue_full"


async def test_a_storm_of_starvation_is_one_incident_a_second_for_each_pool(
    book: IncidentBook, clock: ManualClock
) -> None:
    first = book.starved("app", 10.0, Refusal.TIMEOUT, [])
    assert all(book.starved("app", 10.0, Refusal.TIMEOUT, []) is first for _ in range(500))
    assert book.starved("jobs", 10.0, Refusal.TIMEOUT, []) is not first
    await clock.advance(STARVATION_SECONDS)
    second = book.starved("app", 10.0, Refusal.TIMEOUT, [])
    assert (first.repeats, second.repeats) == (0, 500)
    assert len(book.find(pool="app")) == 2


async def test_where_texts_are_not_to_be_shown_none_is_kept_logged_or_passed_on(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """And those that were recorded before the settings said so are not shown either."""
    shows = [True]
    book = IncidentBook(clock, lambda _: None, shows_text=lambda: shows[0])
    before = book.record(replace(INCIDENT, id=book.new_id()))
    assert before.transaction is not None
    text = before.transaction.fingerprints[-1].text
    assert text in str(before.as_json())
    shows[0] = False
    caplog.clear()
    with book.subscribe() as stream:
        kept = book.record(replace(INCIDENT, id=book.new_id()))
        passed_on = await anext(aiter(stream))
    assert passed_on is kept
    starved = book.starved("app", 1.0, Refusal.TIMEOUT, [idle(5.0)])
    for one in (kept, starved, *book.find(), book.get(before.id)):
        assert one is not None
        assert text not in str(one.as_json())
    assert text not in str([record.__dict__ for record in caplog.records])
