"""Two poolguards, one table, messages that are slow, lost or out of order, failovers: the invariants of leases."""

from dataclasses import dataclass
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from poolguard.lease.book import Book, Confirmed, Fact, GivenUp, Refused, Seen, TimePassed, margin_seconds
from poolguard.lease.store import Granted, HeldBy, Over, Released, Renewed, Spent
from poolguard.lease.terms import Row, TermKey, Wanted
from tests.support.leases import Table

Answer = Granted | HeldBy | Spent | Renewed | Over | Released
NAME = "a"
"""One is enough: names never meet, but in the sequence of tokens."""
SIDECARS = st.sampled_from([0, 1])
TTLS = st.sampled_from([5.0, 15.0])
SLOWLY = st.sampled_from([False, False, True])


@dataclass(eq=False)
class Message:
    """One request of a poolguard, and how far it has got."""

    sidecar: int
    request: Wanted | TermKey
    kind: Literal["acquire", "renew", "release"]
    sent_at: float
    floor: int
    earlier: int | None
    slow: bool
    answer: Answer | None = None


class Leases(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.table = Table()
        self.books = [Book(), Book()]
        self.messages: list[Message] = []
        self.wishes: list[Wanted] = []
        self.got: list[dict[str, int]] = [{}, {}]
        self.terms: list[tuple[int, TermKey]] = []
        self.given_up: set[tuple[int, TermKey]] = set()

    def take(self, sidecar: int, fact: Fact) -> None:
        before = self.books[sidecar].leader(NAME, now=self.now)
        self.books[sidecar].take(fact, now=self.now)
        after = self.books[sidecar].leader(NAME, now=self.now)
        if not isinstance(fact, Confirmed):
            assert after in (before, None), f"{type(fact).__name__} made a leader"

    # Sending

    @rule(sidecar=SIDECARS, ttl=TTLS, slowly=SLOWLY)
    def wish(self, sidecar: int, ttl: float, slowly: bool) -> None:
        wanted = Wanted(name=NAME, holder=f"h{sidecar}", ttl_seconds=ttl, request_id=f"r{len(self.wishes)}")
        self.wishes.append(wanted)
        self.send(sidecar, wanted, "acquire", slowly)

    @precondition(lambda self: self.wishes)
    @rule(data=st.data(), slowly=SLOWLY)
    def wish_again(self, data: st.DataObject, slowly: bool) -> None:
        wanted = data.draw(st.sampled_from(self.wishes[-3:]))
        self.send(int(wanted.holder[1:]), wanted, "acquire", slowly)

    @precondition(lambda self: self.terms)
    @rule(data=st.data(), slowly=SLOWLY)
    def renew(self, data: st.DataObject, slowly: bool) -> None:
        sidecar, term = data.draw(st.sampled_from(self.terms[-3:]))
        self.send(sidecar, term, "renew", slowly)

    @precondition(lambda self: self.terms)
    @rule(data=st.data(), slowly=SLOWLY)
    def release(self, data: st.DataObject, slowly: bool) -> None:
        sidecar, term = data.draw(st.sampled_from(self.terms[-3:]))
        self.take(sidecar, GivenUp(term))
        self.given_up.add((sidecar, term))
        self.send(sidecar, term, "release", slowly)

    def send(
        self, sidecar: int, request: Wanted | TermKey, kind: Literal["acquire", "renew", "release"], slowly: bool
    ) -> None:
        earlier = self.got[sidecar].get(request.request_id) if isinstance(request, Wanted) else None
        message = Message(sidecar, request, kind, self.now, self.books[sidecar].floor, earlier, slowly)
        self.messages.append(message)
        if not slowly:
            self.carry_out(message)
            self.receive(message)

    # On the way

    @precondition(lambda self: any(message.answer is None for message in self.messages))
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        self.carry_out(data.draw(st.sampled_from([message for message in self.messages if message.answer is None])))

    def carry_out(self, message: Message) -> None:
        request = message.request
        if isinstance(request, Wanted):
            message.answer = self.table.acquire(request, self.now, floor=message.floor, earlier_token=message.earlier)
        elif message.kind == "renew":
            message.answer = self.table.renew(request, self.now)
        else:
            message.answer = self.table.release(request, self.now)

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.messages.remove(data.draw(st.sampled_from(self.messages)))

    @precondition(lambda self: any(message.answer is not None for message in self.messages))
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self.receive(data.draw(st.sampled_from([m for m in self.messages if m.answer is not None])))

    def receive(self, message: Message) -> None:
        self.messages.remove(message)
        sidecar, request = message.sidecar, message.request
        match message.answer:
            case Granted(row):
                assert isinstance(request, Wanted)
                assert message.earlier in (None, row.token), "a wish that had its term got another one"
                known = [term.token for owner, term in self.terms if owner == sidecar and term.token != row.token]
                assert message.slow or row.token > max(known, default=0), "a token below one that was seen here"
                self.got[sidecar][request.request_id] = row.token
                self.terms.append((sidecar, TermKey(row.name, request.holder, row.token)))
                self.confirm(sidecar, row, message.sent_at)
            case Renewed(row):
                self.confirm(sidecar, row, message.sent_at)
            case Over(found):
                assert isinstance(request, TermKey)
                self.take(sidecar, Refused(request))
                if found is not None:
                    self.take(sidecar, Seen(found.name, found.token))
            case HeldBy(row):
                self.take(sidecar, Seen(row.name, row.token))
            case _:
                pass

    def confirm(self, sidecar: int, row: Row, sent_at: float) -> None:
        assert row.holder is not None
        before = self.books[sidecar].leader(row.name, now=self.now)
        self.take(
            sidecar,
            Confirmed(
                name=row.name,
                holder=row.holder,
                token=row.token,
                transitions=row.transitions,
                ttl_seconds=row.ttl_seconds,
                valid_for_seconds=row.valid_for_seconds,
                sent_at=sent_at,
            ),
        )
        after = self.books[sidecar].leader(row.name, now=self.now)
        if after is not None and after != before:
            latest = sent_at + row.valid_for_seconds - margin_seconds(row.ttl_seconds)
            known = before.trusted_until if before is not None and before.token == after.token else 0.0
            assert after.trusted_until <= max(latest, known), "trust reaches further than what was sent allows"

    # The world

    @rule(seconds=st.sampled_from([0.1, 0.9, 1.0, 1.5, 2.0, 4.0, 14.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(sidecar=SIDECARS)
    def sweep(self, sidecar: int) -> None:
        self.take(sidecar, TimePassed())

    # Only while nobody relies on it: PostgreSQL can't tell a believer before it asks.
    @precondition(lambda self: not self.messages and not any(b.leader(NAME, now=self.now) for b in self.books))
    @rule(sequence_too=st.booleans())
    def operator_deletes_row(self, sequence_too: bool) -> None:
        self.table.forget(NAME, sequence_too=sequence_too)

    @rule(losing=st.booleans())
    def fail_over(self, losing: bool) -> None:
        self.table.fail_over(losing_renewals=losing)

    @precondition(lambda self: any(book.leader(NAME, now=self.now) for book in self.books))
    @rule(seconds=st.sampled_from([1.0, 3.0, 4.0]))
    def fail_over_in_the_last_moment(self, seconds: float) -> None:
        """The renewal that was lost is all that made the term outlive the failover."""
        for sidecar, term in self.terms:
            belief = self.books[sidecar].leader(NAME, now=self.now)
            if belief is not None and belief.token == term.token:
                self.now = max(self.now, belief.trusted_until - 0.1)
                self.send(sidecar, term, "renew", slowly=False)
                break
        self.table.fail_over(losing_renewals=True)
        self.now += seconds

    # What always holds

    @invariant()
    def at_most_one_term_is_believed(self) -> None:
        believed = {b.token for book in self.books if (b := book.leader(NAME, now=self.now))}
        assert len(believed) <= 1, f"two terms are believed at once: {believed}"

    @invariant()
    def tokens_grow_and_belong_to_one_holder(self) -> None:
        tokens = [token for _, token, _ in self.table.granted]
        # A sidecar that never saw a token can't know of it once row and sequence are gone.
        if not self.table.forgotten:
            assert tokens == sorted(set(tokens)), f"tokens went back: {tokens}"

    @invariant()
    def what_was_given_up_is_not_believed(self) -> None:
        for sidecar, term in self.given_up:
            belief = self.books[sidecar].leader(term.name, now=self.now)
            assert belief is None or belief.token > term.token, "a term came back after its release"

    @invariant()
    def the_books_are_sound(self) -> None:
        for book in self.books:
            book.check()


Leases.TestCase.settings = settings(max_examples=200, stateful_step_count=50)
test_leases = Leases.TestCase
