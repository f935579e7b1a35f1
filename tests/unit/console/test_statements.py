"""What may be said to the console."""

import pytest

from poolguard.console.statements import MOST_TEXT, Forget, Kill, Nothing, NotUnderstood, Show, Topic, read
from poolguard.core.ids import SessionId, TransactionId
from poolguard.guard.history import Action


@pytest.mark.parametrize("topic", list(Topic))
@pytest.mark.parametrize("text", ["SHOW {}", "show {};", " Show\n{} ; ", "/* app */ SHOW {} -- now", "SHOW/**/{}"])
def test_case_space_comments_and_the_semicolon_mean_nothing(topic: Topic, text: str) -> None:
    assert read(text.format(topic.value)) == read(text.format(topic.upper())) == [Show(topic)]


@pytest.mark.parametrize("action", [Action.CANCEL, Action.ROLLBACK, Action.TERMINATE])
def test_kill_names_a_transaction_and_what_is_to_be_done(action: Action) -> None:
    assert read(f"kill '12-3' {action.value};") == [Kill(TransactionId(SessionId(12), 3), action)]


@pytest.mark.parametrize("text", ["", " ", ";", ";;", "-- nothing", "/* nothing */", "/* without an end"])
def test_an_empty_text_means_nothing(text: str) -> None:
    assert read(text) == []


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("BEGIN", Nothing("BEGIN", block=True)),
        ("begin isolation level serializable, read only", Nothing("BEGIN", block=True)),
        ("START TRANSACTION", Nothing("START TRANSACTION", block=True)),
        ("COMMIT", Nothing("COMMIT", block=False)),
        ("end", Nothing("COMMIT", block=False)),
        ("ROLLBACK", Nothing("ROLLBACK", block=False)),
        ("abort", Nothing("ROLLBACK", block=False)),
        ("ROLLBACK TO SAVEPOINT a", Nothing("ROLLBACK")),
        ("rollback work to a", Nothing("ROLLBACK")),
        ("SAVEPOINT a", Nothing("SAVEPOINT")),
        ("RELEASE a", Nothing("RELEASE")),
        ("SET extra_float_digits = 3", Nothing("SET")),
        ("SET application_name = 'psql; SHOW POOLS'", Nothing("SET")),
        ("RESET ALL", Nothing("RESET")),
        ("DISCARD ALL", Forget(None, "DISCARD ALL")),
        ("DEALLOCATE ALL", Forget(None, "DEALLOCATE ALL")),
        ("DEALLOCATE PREPARE all", Forget(None, "DEALLOCATE ALL")),
        ("DEALLOCATE _pg3_0", Forget("_pg3_0", "DEALLOCATE")),
        ('deallocate "My One"', Forget("My One", "DEALLOCATE")),
    ],
)
def test_what_drivers_send_around_a_statement_is_understood(text: str, meant: object) -> None:
    assert read(text) == [meant]


def test_several_statements_come_in_order() -> None:
    assert read("BEGIN; SHOW POOLS; COMMIT;") == [
        Nothing("BEGIN", block=True),
        Show(Topic.POOLS),
        Nothing("COMMIT", block=False),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "SHOW",
        "SHOW TABLES",
        "SHOW POOLS SESSIONS",
        "SHOW 'pools'",
        'SHOW "pools"',
        "SHOW POOLS, SESSIONS",
        "KILL",
        "KILL 12-3 ROLLBACK",
        "KILL '12-3'",
        "KILL '12-3' WARN",
        "KILL '12-3' ROLLBACK NOW",
        "KILL '12' ROLLBACK",
        "KILL '-3' ROLLBACK",
        "KILL '12-3 ROLLBACK",
        "KILL $1 ROLLBACK",
        "DISCARD PLANS",
        "DEALLOCATE",
        "DEALLOCATE a b",
        "'",
        "()",
        "SHOW POOLS; SELECT 1",
    ],
)
def test_anything_else_is_42601_with_a_hint(text: str) -> None:
    with pytest.raises(NotUnderstood) as raised:
        read(text)
    assert raised.value.sqlstate == "42601"
    assert "SHOW HELP" in raised.value.hint


def test_nothing_that_was_said_is_repeated() -> None:
    with pytest.raises(NotUnderstood) as raised:
        read("KILL 'hunter2' ROLLBACK")
    assert "hunter2" not in raised.value.message + raised.value.hint + raised.value.detail


def test_a_long_text_is_refused_before_it_is_read() -> None:
    assert read(" " * (MOST_TEXT - 10) + "SHOW POOLS") == [Show(Topic.POOLS)]
    with pytest.raises(NotUnderstood, match=str(MOST_TEXT)):
        read(" " * MOST_TEXT + "SHOW POOLS")
