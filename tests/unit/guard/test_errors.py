"""Errors are counted by who caused them, within bounds."""

import pytest

from poolguard.guard.errors import MOST_CONSTRAINTS, MOST_PAIRS, OTHER, UNKNOWN, Deadlock, ErrorBook
from tests.unit.guard.builders import transaction

DETAIL = (
    "Process 101 waits for ShareLock on transaction 5; blocked by process 102.\n"
    "Process 102 waits for ShareLock on transaction 6; blocked by process 101."
)
FIELDS = {"C": "40P01", "D": DETAIL, "W": 'while updating tuple (0,1) in relation "jobs"'}

CONTEXTS = {
    "en": 'while updating tuple (0,1) in relation "{}"',
    "de": "beim Aktualisieren von Tupel (0,1) in Relation »{}«",
    "es": "mientras se actualizaba la tupla (0,1) en la relación «{}»",
    "fr": "lors de la mise à jour de la ligne (0,1) dans la relation « {} »",
    "it": 'durante la modifica della tupla (0,1) nella relazione "{}"',
    "ja": 'リレーション"{}"のタプル(0,1)の更新中',
    "ka": 'კორტეჟის (0,1) განახლებისას ურთიერთობაში "{}"',
    "ko": '0,1 튜플(해당 릴레이션 "{}")을 갱신하는 중에 발생',
    "ru": 'при изменении кортежа (0,1) в отношении "{}"',
    "sv": 'vid uppdatering av tupel (0,1) i relation "{}"',
    "uk": 'при оновленні кортежу (0,1) в зв\'язку "{}"',
    "zh": '当更新关系"{}"的元组(0, 1)时',
}
"""`while updating tuple`, as PostgreSQL 15 says it."""


class Told(ErrorBook):
    def __init__(self) -> None:
        self.told: list[Deadlock] = []
        super().__init__(self.told.append)


ONE = transaction(1, backend_pid=101, statement=b"UPDATE jobs SET a = 'x' WHERE id = 1", recent=())
TWO = transaction(2, backend_pid=102, statement=b"UPDATE jobs SET b = 2 WHERE id = 7", recent=())


def test_the_statements_that_met_are_counted_as_a_pair() -> None:
    book = Told()
    for victim in (ONE, TWO):
        book.seen(victim, FIELDS, [ONE, TWO])
    assert book.deadlocks == {"app": 2}
    ((pair, number),) = book.pairs.items()
    assert number == 2, "once for each deadlock: a cycle of two is two edges, and one meeting"
    assert {book.texts[key] for key in pair} == {
        "update jobs set a = ? where id = ?",
        "update jobs set b = ? where id = ?",
    }


def test_the_cycle_names_the_victim_first_and_the_relation() -> None:
    book = Told()
    book.seen(ONE, FIELDS, [ONE, TWO])
    (deadlock,) = book.told
    assert [one.pid for one in deadlock.cycle] == [101, 102]
    assert deadlock.context == 'relation "jobs"'
    assert deadlock.cycle[0].statement.text == "update jobs set a = ? where id = ?"


@pytest.mark.parametrize("language", CONTEXTS)
def test_the_relation_is_found_in_every_language_that_postgresql_speaks(language: str) -> None:
    """Check 7: quotes differ, and the name may stand in front of the row's place."""
    book = Told()
    book.seen(ONE, {**FIELDS, "W": CONTEXTS[language].format("jobs")}, [])
    assert book.told[0].context == 'relation "jobs"'


@pytest.mark.parametrize(
    "context",
    [
        'SQL statement "LOCK TABLE jobs"\nPL/pgSQL function f() line 3 at SQL statement',
        "SQL statement \"UPDATE jobs SET a = f(1,2) WHERE owner = 'secret'\"",
        'SQL statement "UPDATE jobs SET owner = \'secret\' WHERE "a" = (1,2)"',
        'SQL statement "UPDATE jobs SET owner = \'sec"ret\', a = (1,2)\nWHERE true"',
        'while locking tuple (0,1) in relation "a name that nobody gives"',
    ],
)
def test_what_quotes_sql_is_not_taken_for_a_relation(context: str) -> None:
    book = Told()
    book.seen(ONE, {**FIELDS, "W": context}, [])
    assert book.told[0].context == ""


def test_a_party_that_is_not_ours_is_unknown() -> None:
    book = Told()
    book.seen(ONE, FIELDS, [ONE])
    assert book.told[0].cycle[1].statement is UNKNOWN
    assert book.told[0].cycle[1].party is None


def test_a_message_that_can_not_be_read_is_counted_all_the_same() -> None:
    book = Told()
    book.seen(ONE, {"C": "40P01", "W": 'relation "not\nclosed'}, [])
    assert (book.deadlocks["app"], book.pairs, book.told[0].cycle, book.told[0].context) == (1, {}, (), "")


def test_pairs_are_bounded() -> None:
    book = Told()
    for number in range(MOST_PAIRS + 5):
        one = transaction(1, backend_pid=101, statement=f"select c{number}".encode(), recent=())
        book.seen(one, FIELDS, [one, TWO])
    assert len(book.pairs) == MOST_PAIRS + 1
    assert book.pairs[OTHER, OTHER] > 0
    assert len(book.texts) <= 2 * MOST_PAIRS


def test_duplicate_keys_are_counted_by_constraint_within_bounds() -> None:
    book = Told()
    for number in range(MOST_CONSTRAINTS + 3):
        book.seen(ONE, {"C": "23505", "t": "session", "n": f"key{number}"}, [])
    book.seen(ONE, {"C": "23505", "t": "session", "n": "key0"}, [])
    assert book.duplicates["app", "session", "key0"] == 2
    assert book.duplicates["app", OTHER, OTHER] == 3


def test_of_a_duplicate_key_the_latest_offender_is_kept() -> None:
    book = Told()
    mark = b"INSERT INTO session VALUES ('x') /*route='%2Fapi%2Fsend'*/"
    for statement in (b"INSERT INTO session SELECT 1", mark):
        victim = transaction(1, application_name="umami", statement=statement, recent=())
        book.seen(victim, {"C": "23505", "t": "session", "n": "session_pkey"}, [])
    (latest,) = book.latest.values()
    assert (latest.application_name, latest.tags) == ("umami", {"route": "/api/send"})
    assert latest.statement.text == "insert into session values (...)"


def test_an_error_without_names_is_unknown() -> None:
    book = Told()
    book.seen(ONE, {"C": "23505"}, [])
    assert book.duplicates == {("app", "unknown", "unknown"): 1}


def test_other_errors_are_nobodys_fault() -> None:
    book = Told()
    book.seen(ONE, {"C": "42P01"}, [])
    assert (book.told, book.deadlocks, book.duplicates) == ([], {}, {})
