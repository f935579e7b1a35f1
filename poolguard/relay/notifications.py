"""Who listens to which channel. Pure.

LISTEN and UNLISTEN count from the commit of their transaction on, and never if it, or the savepoint around them, was
rolled back. Nobody but PostgreSQL knows which it will be, so PostgreSQL is asked: with each change goes a NOTIFY of
poolguard's own, a mark. It comes to the listening server if and when the change was committed, and it comes in its
place among all other notifications, because PostgreSQL has a single queue of them in the order of commits. (In one
thing that differs from PostgreSQL: what a transaction notified before its own LISTEN is not told to itself.)

A change is `proposed` before PostgreSQL sees it, `happened` when its mark has come, and `void` when it can't come any
more. What a proposed LISTEN names is `wanted` already: the listening server must hear the channel before the change
is committed, or what is notified right behind it would be missed.
"""

from collections.abc import Hashable, Sequence
from itertools import count
from typing import Final, Generic, NamedTuple, TypeVar

from poolguard.wire.subscriptions import Subscription

K = TypeVar("K", bound=Hashable)


class Change(NamedTuple, Generic[K]):
    """One LISTEN or UNLISTEN (or several in one text) of *listener*."""

    listener: K
    subscriptions: tuple[Subscription, ...]


class Subscriptions(Generic[K]):
    """The book of one pool. A listener is whatever the caller uses to know one: a session."""

    def __init__(self) -> None:
        self._channels: dict[bytes, dict[K, None]] = {}
        """By channel, in the order in which they came."""
        self._of: dict[K, set[bytes]] = {}
        self._proposed: dict[int, Change[K]] = {}
        self._proposed_by: dict[K, set[int]] = {}
        self._numbers: Final = count(1)
        self._abandoned: set[bytes] = set()

    def number(self) -> int:
        """A number that none before it was given; they grow."""
        return next(self._numbers)

    def propose(self, listener: K, subscriptions: tuple[Subscription, ...]) -> int:
        """Note a change that PostgreSQL will see; the number is its mark's."""
        number = self.number()
        self._proposed[number] = Change(listener, subscriptions)
        self._proposed_by.setdefault(listener, set()).add(number)
        return number

    def happened(self, number: int) -> Change[K] | None:
        """The mark has come: the change, which counts from here on; None if it was void."""
        change = self._proposed.get(number)
        if change is not None:
            self._apply(change)
            self.void(number)
        return change

    def void(self, number: int) -> None:
        """The change is proposed no longer: it was refused."""
        change = self._proposed.pop(number, None)
        if change is None:
            return
        numbers = self._proposed_by[change.listener]
        numbers.discard(number)
        if not numbers:
            del self._proposed_by[change.listener]
        self._abandoned.update(channel for begins, channel in change.subscriptions if begins)

    def void_before(self, listener: K, number: int) -> None:
        """Every change of *listener* below *number* whose mark has not come was rolled back."""
        for earlier in [earlier for earlier in self._proposed_by.get(listener, ()) if earlier < number]:
            self.void(earlier)

    def gap(self) -> None:
        """Marks may have been missed. Take what was to begin as begun: to hear too much does less harm."""
        for number, change in sorted(self._proposed.items()):
            self._apply(Change(change.listener, tuple(each for each in change.subscriptions if each.begins)))
            self.void(number)

    def leave(self, listener: K) -> None:
        """*listener* hears nothing any more: it has gone, or said DISCARD ALL."""
        for channel in list(self._of.get(listener, ())):
            self._remove(listener, channel)
        for number in list(self._proposed_by.get(listener, ())):
            self.void(number)

    def _apply(self, change: Change[K]) -> None:
        listener = change.listener
        for begins, channel in change.subscriptions:
            if begins:
                self._channels.setdefault(channel, {})[listener] = None
                self._of.setdefault(listener, set()).add(channel)
            else:
                for each in [channel] if channel else list(self._of.get(listener, ())):
                    self._remove(listener, each)

    def _remove(self, listener: K, channel: bytes) -> None:
        listeners = self._channels.get(channel, {})
        if listener not in listeners:
            return
        del listeners[listener]
        if not listeners:
            del self._channels[channel]
            self._abandoned.add(channel)
        channels = self._of[listener]
        channels.discard(channel)
        if not channels:
            del self._of[listener]

    def abandoned(self) -> list[bytes]:
        """The channels that were wanted at the last call or since, and are no longer."""
        gone = [channel for channel in self._abandoned if not self.wants(channel)]
        self._abandoned.clear()
        return gone

    # What others ask.

    def told(self, channel: bytes) -> Sequence[K]:
        """Who is told of a notification on *channel*."""
        return tuple(self._channels.get(channel, ()))

    def wants(self, channel: bytes) -> bool:
        """Whether the listening server must hear *channel*."""
        return channel in self._channels or any(
            subscription == (True, channel)
            for change in self._proposed.values()
            for subscription in change.subscriptions
        )

    @property
    def wanted(self) -> set[bytes]:
        """Every channel that the listening server must hear."""
        return self._channels.keys() | {
            channel for change in self._proposed.values() for begins, channel in change.subscriptions if begins
        }

    def proposes(self, listener: K) -> bool:
        """Whether a change of *listener* is undecided."""
        return listener in self._proposed_by

    def knows(self, listener: K) -> bool:
        """Whether *listener* hears a channel, or may be about to."""
        return listener in self._of or listener in self._proposed_by

    def load(self, listener: K) -> int:
        """How many channels and undecided changes are kept for *listener*."""
        return len(self._of.get(listener, ())) + len(self._proposed_by.get(listener, ()))

    def channels_of(self, listener: K) -> int:
        """How many channels *listener* hears."""
        return len(self._of.get(listener, ()))

    @property
    def listeners(self) -> Sequence[K]:
        """Everybody who hears a channel."""
        return tuple(self._of)

    @property
    def empty(self) -> bool:
        """Whether nobody hears or is about to hear anything."""
        return not self._of and not self._proposed
