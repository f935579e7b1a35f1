"""The book of who listens to what."""

from poolguard.relay.notifications import Subscriptions
from poolguard.wire.subscriptions import Subscription


def listen(*channels: str) -> tuple[Subscription, ...]:
    return tuple(Subscription(True, channel.encode()) for channel in channels)


def unlisten(*channels: str) -> tuple[Subscription, ...]:
    """None for all."""
    return tuple(Subscription(False, channel.encode()) for channel in channels or ("",))


def book(**heard: str) -> Subscriptions[str]:
    """Each hears the channels that its letters name."""
    made: Subscriptions[str] = Subscriptions()
    for listener, channels in heard.items():
        made.happened(made.propose(listener, listen(*channels)))
    return made


def test_a_change_counts_when_its_mark_has_come() -> None:
    made: Subscriptions[str] = Subscriptions()
    number = made.propose("ann", listen("a", "b"))
    assert (made.told(b"a"), made.wanted, made.proposes("ann")) == ((), {b"a", b"b"}, True)
    made.happened(number)
    assert (made.told(b"a"), made.wanted, made.proposes("ann")) == (("ann",), {b"a", b"b"}, False)


def test_who_came_first_is_told_first() -> None:
    assert book(ben="a", ann="a").told(b"a") == ("ben", "ann")


def test_listening_twice_is_listening_once() -> None:
    made = book(ann="aa")
    assert made.told(b"a") == ("ann",)
    made.happened(made.propose("ann", unlisten("a")))
    assert made.empty


def test_unlisten_ends_one_channel_or_all() -> None:
    made = book(ann="abc", ben="a")
    made.happened(made.propose("ann", unlisten("a")))
    assert (made.told(b"a"), made.told(b"b"), made.channels_of("ann")) == (("ben",), ("ann",), 2)
    made.happened(made.propose("ann", unlisten()))
    assert (made.wanted, made.knows("ann")) == ({b"a"}, False)


def test_one_text_counts_in_its_order() -> None:
    made = book(ann="a")
    made.happened(made.propose("ann", unlisten() + listen("b")))
    assert made.wanted == {b"b"}
    made.happened(made.propose("ann", listen("c") + unlisten("c")))
    assert made.wanted == {b"b"}


def test_a_mark_that_was_void_counts_for_nothing() -> None:
    made = book()
    number = made.propose("ann", listen("a"))
    made.void(number)
    assert made.happened(number) is None
    assert made.empty


def test_what_was_proposed_before_a_barrier_is_void_and_what_came_behind_is_not() -> None:
    made = book()
    earlier, others = made.propose("ann", listen("a")), made.propose("ben", listen("b"))
    barrier = made.number()
    later = made.propose("ann", listen("c"))
    made.void_before("ann", barrier)
    for number in (earlier, others, later):
        made.happened(number)
    assert made.wanted == {b"b", b"c"}


def test_a_gap_takes_what_was_to_begin_as_begun_and_what_was_to_end_as_not_ended() -> None:
    made = book(ann="a")
    made.propose("ann", unlisten())
    made.propose("ben", listen("b"))
    made.gap()
    assert (made.told(b"a"), made.told(b"b"), made.proposes("ann")) == (("ann",), ("ben",), False)


def test_who_leaves_is_forgotten() -> None:
    made = book(ann="ab")
    made.propose("ann", listen("c"))
    assert made.load("ann") == 3
    made.leave("ann")
    assert made.empty
    assert made.listeners == ()


def test_channels_are_abandoned_when_nobody_wants_them_any_more_and_told_once() -> None:
    made = book(ann="ab", ben="a")
    made.leave("ann")
    assert made.abandoned() == [b"b"]
    made.void(made.propose("ben", listen("c", "a")))
    assert made.abandoned() == [b"c"]
    assert made.abandoned() == []


def test_a_channel_that_is_wanted_again_is_not_abandoned() -> None:
    made = book(ann="a")
    made.leave("ann")
    made.propose("ben", listen("a"))
    assert made.abandoned() == []
