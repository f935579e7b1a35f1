"""When watched leases are looked at, and what counts as news."""

import pytest

from poolguard.lease import topics as module
from poolguard.lease.topics import Topics
from tests.support.leases import row


def watched(*names: str) -> Topics:
    topics = Topics()
    topics.watch(names)
    return topics


def saw(topics: Topics, found: object, now: float, *, listening: bool = True, jitter: float = 0.0) -> bool:
    return topics.saw("a", found, now=now, listening=listening, jitter=jitter)  # type: ignore[arg-type]


def test_what_is_new_is_due_at_once() -> None:
    assert watched("a", "b").due(now=0.0, limit=10) == ["a", "b"]
    assert watched("a", "b").due(now=0.0, limit=1) == ["a"]


def test_first_look_is_news_the_same_again_is_not_and_the_end_of_a_term_is() -> None:
    topics = watched("a")
    assert saw(topics, row(valid_for_seconds=5.0), 0.0)
    assert not saw(topics, row(valid_for_seconds=4.0), 1.0)
    assert saw(topics, row(valid_for_seconds=-0.1), 5.1)
    assert not saw(topics, row(valid_for_seconds=-1.1), 6.1)


def test_a_lease_without_a_row_is_news_once_with_index_0() -> None:
    topics = watched("a")
    assert saw(topics, None, 0.0)
    assert not saw(topics, None, 1.0)
    found = topics.get("a")
    assert found is not None
    assert found.index == 0


def test_looks_become_rarer_while_nothing_changes_but_never_later_than_the_end_of_the_term() -> None:
    topics, pauses, now = watched("a"), [], 0.0
    for _ in range(8):
        saw(topics, row(valid_for_seconds=60.0), now)
        due = topics.next_due()
        assert due is not None
        pauses.append(due - now)
        now = due
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    saw(topics, row(valid_for_seconds=1.5), now, jitter=1.0)
    assert topics.next_due() == now + 1.5 + module.END_JITTER_SECONDS


@pytest.mark.parametrize(("running", "listening"), [(True, False), (False, True), (False, False)])
def test_without_listening_and_while_free_it_is_looked_every_second(running: bool, listening: bool) -> None:
    topics, now, pause = watched("a"), 0.0, 0.0
    for _ in range(5):
        saw(topics, row(valid_for_seconds=60.0 if running else -1.0), now, listening=listening)
        due = topics.next_due()
        assert due is not None
        now, pause = due, due - now
    assert pause == module.POLLING_PAUSE_SECONDS


def test_being_woken_brings_the_look_forward_but_not_more_often_than_ten_times_a_second() -> None:
    topics = watched("a")
    saw(topics, row(valid_for_seconds=60.0), 10.0)
    topics.wake("a", now=10.01, jitter=0.0)
    assert topics.next_due() == pytest.approx(10.1)
    topics.wake("a", now=10.15, jitter=1.0)
    assert topics.next_due() == pytest.approx(10.1)
    saw(topics, row(valid_for_seconds=60.0), 20.0)
    topics.wake_all(now=20.2, jitter=1.0)
    assert topics.next_due() == pytest.approx(20.25)
    topics.wake("unknown", now=0.0, jitter=0.0)


def test_an_answer_that_was_overtaken_changes_nothing_for_a_while() -> None:
    topics = watched("a")
    saw(topics, row(token=8, version=3), 0.0)
    assert not saw(topics, row(token=7, version=2), 0.5)
    assert saw(topics, row(token=7, version=2), 2.0), "a table that was restored is believed"


def test_a_failed_look_is_repeated_soon() -> None:
    topics = watched("a")
    topics.failed(["a"], now=0.0)
    assert topics.next_due() == 0.5
    for _ in range(5):
        topics.failed(["a"], now=0.0)
    assert topics.next_due() == 1.0


def test_what_nobody_watches_any_more_is_forgotten() -> None:
    topics = watched("a", "b")
    topics.watch(["a"])
    topics.unwatch(["a", "b"])
    assert (topics.get("a") is not None, topics.get("b")) == (True, None)
    topics.unwatch(["a"])
    assert (len(topics), topics.next_due()) == (0, None)
    assert not saw(topics, row(), 0.0)


def test_the_number_of_names_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOPICS", 2)
    topics = watched("a", "b")
    assert topics.room_for(["a", "b"])
    assert not topics.room_for(["a", "c"])
