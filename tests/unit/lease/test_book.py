"""Beliefs: until when a term may be relied on, and what ends it."""

import pytest

from poolguard.lease import book as book_module
from poolguard.lease.book import (
    Began,
    Book,
    Change,
    Confirmed,
    Ended,
    Extended,
    Forced,
    GivenUp,
    Refused,
    Seen,
    TimePassed,
    margin_seconds,
)
from poolguard.lease.counters import LostReason
from poolguard.lease.terms import TermKey

TERM = TermKey("a", "pod-1", 7)


def confirmed(
    *,
    name: str = "a",
    token: int = 7,
    sent_at: float = 1000.0,
    ttl_seconds: float = 15.0,
    valid_for_seconds: float = 15.0,
) -> Confirmed:
    return Confirmed(
        name=name,
        holder="pod-1",
        token=token,
        transitions=1,
        ttl_seconds=ttl_seconds,
        valid_for_seconds=valid_for_seconds,
        sent_at=sent_at,
    )


def reasons(changes: object) -> list[LostReason | None]:
    assert isinstance(changes, list)
    return [change.reason for change in changes if isinstance(change, Ended)]


def kinds(changes: object) -> list[type[Change]]:
    assert isinstance(changes, list)
    return [type(change) for change in changes]


@pytest.fixture
def book() -> Book:
    held = Book()
    held.take(confirmed(), now=1000.1)
    return held


@pytest.mark.parametrize(("ttl", "margin"), [(2.0, 1.0), (10.0, 1.0), (15.0, 1.5), (600.0, 60.0)])
def test_margin(ttl: float, margin: float) -> None:
    assert margin_seconds(ttl) == margin


def test_trust_counts_from_when_it_was_sent_and_ends_a_margin_early(book: Book) -> None:
    assert book.leader("a", now=1000.1) is not None
    assert book.leader("a", now=1013.49) is not None
    assert book.leader("a", now=1013.5) is None
    assert book.leader("b", now=1000.1) is None


def test_a_replayed_term_is_trusted_only_for_what_was_left_of_it() -> None:
    book = Book()
    book.take(confirmed(valid_for_seconds=5.0), now=1000.1)
    assert book.leader("a", now=1003.4) is not None
    assert book.leader("a", now=1003.5) is None


def test_a_confirmation_that_comes_too_late_makes_nobody_a_leader() -> None:
    book = Book()
    assert book.take(confirmed(), now=1013.5) == []
    assert book.leader("a", now=1013.5) is None


def test_renewals_answered_out_of_order_never_shorten_trust(book: Book) -> None:
    assert kinds(book.take(confirmed(sent_at=1010.0), now=1010.1)) == [Extended]
    assert kinds(book.take(confirmed(sent_at=1005.0), now=1010.2)) == [Extended]
    belief = book.leader("a", now=1010.2)
    assert belief is not None
    assert belief.trusted_until == 1023.5


def test_lapsed_trust_comes_back_with_a_renewal_that_was_under_way(book: Book) -> None:
    assert reasons(book.take(TimePassed(), now=1014.0)) == [LostReason.LAPSED]
    assert kinds(book.take(confirmed(sent_at=1013.0), now=1014.1)) == [Began]


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (Refused(TERM), LostReason.REFUSED),
        (Seen("a", 8), LostReason.SUPERSEDED),
        (Forced("a", 7), LostReason.FORCED),
        (GivenUp(TERM), None),
        (confirmed(token=8), LostReason.SUPERSEDED),
    ],
)
def test_what_ends_a_term_ends_it_for_good(
    book: Book, fact: Refused | Seen | Forced | GivenUp | Confirmed, reason: LostReason | None
) -> None:
    assert reasons(book.take(fact, now=1001.0)) == [reason]
    assert book.is_over("a", 7)
    book.take(confirmed(sent_at=1001.0), now=1001.1)
    belief = book.leader("a", now=1001.1)
    assert belief is None or belief.token == 8
    book.check()


@pytest.mark.parametrize(
    "fact",
    [
        Refused(TermKey("a", "pod-2", 7)),
        Refused(TermKey("a", "pod-1", 6)),
        Refused(TermKey("b", "pod-1", 7)),
        GivenUp(TermKey("a", "pod-2", 7)),
        GivenUp(TermKey("a", "pod-1", 2**53 - 1)),
        Seen("a", 7),
        Seen("b", 99),
        Forced("a", 6),
        TimePassed(),
    ],
)
def test_what_is_about_another_term_changes_nothing(book: Book, fact: Refused | GivenUp | Seen | Forced) -> None:
    assert book.take(fact, now=1001.0) == []
    assert book.leader("a", now=1001.0) is not None


def test_a_token_that_a_caller_made_up_does_not_raise_the_floor(book: Book) -> None:
    book.take(GivenUp(TermKey("a", "pod-1", 2**53 - 1)), now=1001.0)
    book.take(Refused(TermKey("a", "pod-1", 2**53 - 1)), now=1001.0)
    assert book.floor == 7


def test_views_show_ended_terms_too(book: Book) -> None:
    book.take(confirmed(name="b", token=9), now=1000.1)
    book.take(Seen("b", 12), now=1000.2)
    views = {view.name: view for view in book.views(now=1003.5)}
    assert (views["a"].held, views["a"].token, views["a"].valid_for_seconds) == (True, 7, 10.0)
    assert views["a"].last_renew_age_seconds == 3.5
    assert (views["b"].held, views["b"].token, views["b"].valid_for_seconds) == (False, 9, 0.0)


def test_a_term_whose_grant_came_too_late_stays_given_up() -> None:
    book = Book()
    book.take(confirmed(), now=1014.1)
    book.take(GivenUp(TERM), now=1014.2)

    # A renewal, asked for while the release was still under way to PostgreSQL.
    assert book.take(confirmed(sent_at=1014.3), now=1014.4) == []
    assert book.leader("a", now=1014.4) is None


def test_a_late_answer_makes_no_renewal_look_older(book: Book) -> None:
    book.take(confirmed(sent_at=1010.0), now=1010.1)
    book.take(confirmed(sent_at=1001.0), now=1030.0)

    (view,) = book.views(now=1030.0)
    assert view.last_renew_age_seconds == 20.0


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "MAX_NAMES", 3)
    book = Book()
    for number in range(3):
        book.take(confirmed(name=f"n{number}"), now=1000.0)
    assert book.full
    for number in range(10):
        book.take(Seen(f"n{number}", 99), now=1000.0)
        book.check()
    assert not book.full
