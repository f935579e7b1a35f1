"""What client processes do with their own pools of connections."""

from collections.abc import Mapping

import pytest

from poolguard.core.ids import SessionId
from poolguard.guard.clients import FORGET_SECONDS, MOST_CLIENTS, ClientBook, ClientKey, host_of, key_of, tally
from poolguard.ledger.entries import Phase, SessionEntry

SHOP = ClientKey("shop", "bob", "127.0.0.1")


def look(book: ClientBook, now: float, phases: Mapping[Phase, int] | None, key: ClientKey = SHOP) -> None:
    book.see({} if phases is None else {key: {("app", phase): n for phase, n in phases.items()}}, now)


def test_all_connections_busy_and_as_many_as_ever_is_a_plateau() -> None:
    book = ClientBook()
    look(book, 1.0, {Phase.IDLE: 1, Phase.ACTIVE: 1})
    assert book.clients[SHOP].full_seconds(1.0) == 0.0
    look(book, 2.0, {Phase.ACTIVE: 1, Phase.IDLE_IN_TRANSACTION: 1})
    look(book, 5.0, {Phase.WAITING: 1, Phase.IDLE_IN_TRANSACTION: 1})
    assert book.clients[SHOP].full_seconds(9.0) == 7.0


def test_one_idle_connection_ends_the_plateau() -> None:
    book = ClientBook()
    look(book, 1.0, {Phase.ACTIVE: 3})
    look(book, 2.0, {Phase.ACTIVE: 2, Phase.IDLE: 1})
    look(book, 3.0, {Phase.ACTIVE: 3})
    assert book.clients[SHOP].full_seconds(3.0) == 0.0


def test_a_pool_that_still_grows_is_not_full() -> None:
    book = ClientBook()
    look(book, 1.0, {Phase.ACTIVE: 5})
    look(book, 2.0, {Phase.ACTIVE: 3})
    assert book.clients[SHOP].full_since is None
    assert book.clients[SHOP].most_sessions == 5


def test_one_connection_that_works_is_no_pool_that_has_run_out() -> None:
    book = ClientBook()
    look(book, 1.0, {Phase.ACTIVE: 1})
    assert book.clients[SHOP].full_since is None


def test_a_transaction_that_was_ended_and_not_noticed_is_a_lost_slot() -> None:
    book = ClientBook()
    look(book, 1.0, {Phase.ENDED: 2, Phase.IDLE: 1})
    assert (book.clients[SHOP].leaked, book.clients[SHOP].busy) == (2, 2)


def test_who_has_gone_is_remembered_for_a_while_and_then_forgotten() -> None:
    book = ClientBook()
    look(book, 1.0, {Phase.ACTIVE: 2})
    look(book, 2.0, None)
    assert (book.clients[SHOP].sessions, book.clients[SHOP].most_sessions) == (0, 2)
    assert book.clients[SHOP].full_since is None
    look(book, 1.0 + FORGET_SECONDS + 1, None)
    assert book.clients == {}


def test_no_more_processes_are_known_than_the_bound() -> None:
    book = ClientBook()
    book.see({ClientKey(f"a{n}", "", ""): {("app", Phase.IDLE): 1} for n in range(MOST_CLIENTS + 10)}, 1.0)
    assert len(book.clients) == MOST_CLIENTS


@pytest.mark.parametrize(
    ("address", "host"),
    [("127.0.0.1:40312", "127.0.0.1"), ("unix", "unix"), ("::1:40312", "::1"), ("[::1]:5", "[::1]")],
)
def test_the_port_does_not_tell_processes_apart(address: str, host: str) -> None:
    assert host_of(address) == host


def test_entries_are_counted_by_process_pool_and_phase() -> None:
    entries = [SessionEntry(SessionId(n), client_address=f"127.0.0.1:{n}", connected_at=0.0) for n in range(3)]
    for entry in entries:
        entry.application_name, entry.user, entry.pool, entry.phase = "shop", "bob", "app", Phase.IDLE
    entries[0].phase = Phase.ACTIVE
    assert key_of(entries[0]) == SHOP
    assert tally({}, entries) == {SHOP: {("app", Phase.ACTIVE): 1, ("app", Phase.IDLE): 2}}
