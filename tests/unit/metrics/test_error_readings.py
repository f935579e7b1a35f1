"""Deadlocks and duplicate keys become readings."""

from poolguard.guard.errors import ErrorBook
from poolguard.metrics import catalogue as c
from poolguard.metrics.error_readings import error_readings


def test_each_pool_has_its_deadlocks_from_the_start() -> None:
    book = ErrorBook(lambda _: None)
    book.deadlocks["gone"] = 2
    told = {reading.labels: reading.value for reading in error_readings(book, ["app"]) if reading.metric is c.DEADLOCKS}
    assert told == {("app",): 0, ("gone",): 2}


def test_pairs_and_constraints_are_labels() -> None:
    book = ErrorBook(lambda _: None)
    book.pairs["aa", "bb"] = 3
    book.duplicates["app", "session", "session_pkey"] = 4
    told = {(reading.metric, reading.labels): reading.value for reading in error_readings(book, [])}
    assert told == {(c.DEADLOCK_PAIRS, ("aa", "bb")): 3, (c.DUPLICATE_KEYS, ("app", "session", "session_pkey")): 4}
