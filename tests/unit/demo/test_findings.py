"""A check is good only when what was wanted was seen, whole."""

from typing import Any

import pytest

from poolguard.demo import findings
from poolguard.demo.clients import Refusal, Wait
from poolguard.demo.heartbeat import Beats

LEAK_ENDED = Refusal(sqlstate="25P03", message="poolguard rolled this transaction back")
OTHER = Refusal(sqlstate="25P02", message="current transaction is aborted")


def pool(name: str, held: int, size: int) -> dict[str, Any]:
    return {"name": name, "held": held, "size": size, "idle": size - held}


def rollback(backend_pid: int, *, actual: float = 3.05, took: float = 0.01) -> dict[str, Any]:
    return {
        "id": f"i{backend_pid}",
        "transaction": {"backend_pid": backend_pid},
        "threshold": {"limit_seconds": 3.0, "actual_seconds": actual},
        "outcome_seconds": took,
    }


def beats(*, renewed: int = 50, missed: tuple[str, ...] = (), gap: float = 0.2) -> Beats:
    return Beats(renewed=renewed, missed=missed, median_seconds=0.003, worst_seconds=0.012, longest_gap_seconds=gap)


def served(backend_pid: int) -> Wait:
    return Wait(seconds=2.5, backend_pid=backend_pid, refusal=None)


def refused(sqlstate: str, message: str) -> Wait:
    return Wait(seconds=1.5, backend_pid=0, refusal=Refusal(sqlstate=sqlstate, message=message))


def test_exhausted_means_every_server_of_every_pool() -> None:
    assert findings.exhausted([pool("app", 4, 4), pool("jobs", 3, 3)]).good
    check = findings.exhausted([pool("app", 4, 4), pool("jobs", 2, 3)])
    assert not check.good
    assert check.seen == "held: app 4/4, jobs 2/3"


def test_the_queue_shows_exactly_those_who_wait() -> None:
    both = [{"application_name": "storefront"}, {"application_name": "invoice-worker"}]
    assert findings.queue_is_seen(both).good
    assert not findings.queue_is_seen(both[:1]).good
    assert not findings.queue_is_seen([*both, {"application_name": "stranger"}]).good
    assert findings.queue_is_seen([]).seen == "nobody"


@pytest.mark.parametrize(
    ("wait", "good"),
    [
        (refused("53300", "query_wait_timeout: pool 'app' ...; held longest by checkout-service at ..."), True),
        (refused("53300", "query_wait_timeout: pool 'app' had no server"), False),
        (refused("57014", "query_wait_timeout: held longest by checkout-service"), False),
        (refused("53300", "too many clients, says checkout-service"), False),
        (served(1), False),
    ],
)
def test_a_wait_in_vain_must_name_the_holder(wait: Wait, good: bool) -> None:
    assert findings.holder_is_named(wait, "checkout-service").good is good


def test_each_leak_is_rolled_back_once_and_in_time() -> None:
    assert findings.all_rolled_back([rollback(1), rollback(2)], {1, 2}).good
    assert not findings.all_rolled_back([rollback(1)], {1, 2}).good
    assert not findings.all_rolled_back([rollback(1), rollback(2), rollback(2)], {1, 2}).good
    assert not findings.all_rolled_back([rollback(1), rollback(9)], {1, 2}).good
    assert not findings.all_rolled_back([rollback(1), rollback(2, actual=4.5)], {1, 2}).good
    assert not findings.all_rolled_back([], {1}).good


def test_lateness_counts_from_the_threshold_to_the_end_of_the_action() -> None:
    check = findings.all_rolled_back([rollback(1, actual=3.05, took=0.02), rollback(2, actual=3.01)], {1, 2})
    assert check.seen == "2 of 2, at most 70 ms past the threshold"


def test_every_incident_is_logged_and_there_is_one() -> None:
    assert findings.all_logged(7, 7).good
    assert not findings.all_logged(6, 7).good
    assert not findings.all_logged(0, 0).good


def test_a_patient_waiter_gets_a_backend_that_had_leaked() -> None:
    assert findings.waiter_was_served(served(11), {11, 12}).good
    assert not findings.waiter_was_served(served(99), {11, 12}).good
    assert not findings.waiter_was_served(refused("53300", "no"), {11}).good


def test_the_next_statement_gets_25p03_in_every_session() -> None:
    assert findings.next_statement_failed([LEAK_ENDED, LEAK_ENDED]).good
    assert not findings.next_statement_failed([LEAK_ENDED, OTHER]).good
    assert not findings.next_statement_failed([LEAK_ENDED, None]).good
    assert not findings.next_statement_failed([]).good


def test_a_commit_is_refused_and_nothing_of_it_is_in_the_table() -> None:
    assert findings.commit_failed([LEAK_ENDED], 0).good
    assert not findings.commit_failed([LEAK_ENDED], 1).good
    assert not findings.commit_failed([None], 0).good
    assert not findings.commit_failed([], 0).good


def test_all_sessions_live_on() -> None:
    assert findings.sessions_live_on(7, 7).good
    assert not findings.sessions_live_on(6, 7).good
    assert not findings.sessions_live_on(0, 0).good


def test_the_same_backends_and_no_other() -> None:
    assert findings.same_backends("app", {1, 2}, {2, 1}).good
    assert not findings.same_backends("app", {1, 2}, {1, 3}).good
    assert not findings.same_backends("app", {1, 2}, {1}).good
    assert not findings.same_backends("app", set(), set()).good
    assert findings.same_backends("app", {1, 2}, {1, 3}).seen == "1 of 2 backends are the ones from before"


def test_one_missed_renewal_is_one_too_many() -> None:
    assert findings.lease_was_kept(beats()).good
    check = findings.lease_was_kept(beats(missed=("503 store_unavailable", "409 lost")))
    assert not check.good
    assert "2 missed (503 store_unavailable)" in check.seen
    assert not findings.lease_was_kept(beats(renewed=0)).good
    assert not findings.lease_was_kept(beats(gap=3.5)).good


def test_a_clean_end_is_exit_code_zero() -> None:
    assert findings.ended_well(0).good
    assert not findings.ended_well(-9).good
