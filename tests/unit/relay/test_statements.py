"""Prepared statements: one per text and types, and what a server knows."""

import gc

import pytest

from poolguard.core.errors import ClientViolation
from poolguard.relay.statements import (
    HOME,
    PREFIX,
    Catalogue,
    Known,
    Statement,
    context_of,
    name_and_rest,
    own_context,
    server_name,
)
from poolguard.wire.text import Kind
from tests.support.relaying import tags


def body(text: str, types: bytes = b"\0\0") -> bytes:
    return text.encode() + b"\0" + types


def test_the_same_text_and_types_are_one_statement() -> None:
    """P1: two clients, the same text."""
    catalogue = Catalogue()
    one = catalogue.intern(body("SELECT 1"))
    assert catalogue.intern(body("SELECT 1")) is one
    assert one.name.startswith(PREFIX)


@pytest.mark.parametrize("other", [body("SELECT 2"), body("SELECT 1", b"\0\1\0\0\0\x17")])
def test_another_text_or_type_is_another_statement(other: bytes) -> None:
    """P1: two clients, the same name, different statements."""
    catalogue = Catalogue()
    one, two = catalogue.intern(body("SELECT 1")), catalogue.intern(other)
    assert one.name != two.name


def test_a_statement_that_nobody_has_is_forgotten_and_its_name_is_not_used_again() -> None:
    catalogue = Catalogue()
    one = catalogue.intern(body("SELECT 1"))
    name = one.name
    del one
    gc.collect()
    assert catalogue.intern(body("SELECT 1")).name != name


def test_what_is_forgotten_is_given_to_nobody_else_and_stays_what_it_was() -> None:
    """P12, P13: a table has changed."""
    catalogue = Catalogue()
    one = catalogue.intern(body("SELECT * FROM t"))
    catalogue.forget()
    assert catalogue.intern(body("SELECT * FROM t")).name != one.name
    assert not one.stale


def test_its_messages_name_it_as_servers_do() -> None:
    statement = Catalogue().intern(body("BEGIN"))
    assert tags(statement.parse + statement.close) == "PC"
    assert statement.parse[5:] == statement.name + b"\0BEGIN\0\0\0"
    assert statement.close[5:] == b"S" + statement.name + b"\0"
    assert statement.text == b"BEGIN"
    assert statement.begins
    assert statement.verdict.kind is Kind.BEGIN


def test_the_least_recently_used_is_evicted_when_there_are_too_many() -> None:
    catalogue, known = Catalogue(), Known(2)
    one, two, three = (catalogue.intern(body(f"SELECT {n}")) for n in range(3))
    known.add(one)
    known.add(two)
    assert known.evict() is None
    known.use(one)
    known.add(three)
    assert known.evict() is two
    assert known.evict() is None
    assert one in known
    assert two not in known
    assert len(known) == 2


def test_what_was_not_closed_after_all_is_the_first_to_be_closed() -> None:
    catalogue, known = Catalogue(), Known(1)
    one, two = (catalogue.intern(body(f"SELECT {n}")) for n in range(2))
    known.add(one)
    known.add(two)
    assert known.evict() is one
    known.restore(one)
    assert len(known) == 2
    assert known.evict() is one


def test_forgetting_is_safe_to_repeat() -> None:
    """P3: a Parse that failed is not known."""
    known = Known(5)
    one = Catalogue().intern(body("SELECT 1"))
    known.add(one)
    known.forget(one)
    known.forget(one)
    assert one not in known
    known.add(one)
    known.clear()
    assert len(known) == 0


def test_a_body_without_a_zero_byte_is_the_clients_fault() -> None:
    assert name_and_rest(b"a\0b\0") == (b"a", b"b\0")
    with pytest.raises(ClientViolation):
        name_and_rest(b"no end")


def test_a_name_that_the_client_never_prepared_cannot_meet_one_of_ours() -> None:
    """P11: PostgreSQL says 26000."""
    assert server_name(PREFIX + b"1") == b"?" + PREFIX + b"1"
    assert server_name(b"S_1") == b"S_1"


def test_a_catalogue_keeps_nothing_that_nobody_has() -> None:
    """P17: a statement lives as long as a client or a server has it."""
    catalogue = Catalogue()
    mine = catalogue.intern(b"SELECT 1\0\0\0")
    for number in range(1000):
        catalogue.intern(b"SELECT %d\0\0\0" % number, own_context())
    assert list(catalogue._statements.values()) == [mine]


def test_a_statement_is_known_by_what_its_names_mean_too() -> None:
    """P13."""
    catalogue = Catalogue()
    text = body("SELECT * FROM t")
    mine = context_of((("search_path", "mine"), ("timezone", "UTC")))
    assert context_of((("timezone", "UTC"),)) == HOME
    assert catalogue.intern(text) is catalogue.intern(text, HOME)
    assert catalogue.intern(text, mine) is catalogue.intern(text, context_of((("search_path", "mine"),)))
    plain, other = catalogue.intern(text), catalogue.intern(text, mine)
    assert plain is not other


def test_a_retired_statement_is_given_out_no_more() -> None:
    """P12, P14: and the new one has another name."""
    catalogue = Catalogue()
    old = catalogue.intern(b"SELECT 1\0\0\0")
    catalogue.retire(old)
    new = catalogue.intern(b"SELECT 1\0\0\0")
    assert old.stale
    assert not new.stale
    assert new.name != old.name
    catalogue.retire(old)
    assert catalogue.intern(b"SELECT 1\0\0\0") is new


def test_what_was_not_cleared_after_all_is_there_again() -> None:
    known, statement = Known(5), Statement(b"select 1\0\0\0")
    known.add(statement)
    before = known.everything()
    known.clear()
    assert statement not in known
    known.restore_all(before)
    assert statement in known
