"""Leases that somebody watches: one look for all of them, soon after a release is heard of, else from time to time."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from random import random
from typing import Final, Protocol

from poolguard.aio.alarm import sleep_until_or
from poolguard.core.clock import Clock
from poolguard.core.errors import LeaseBusy, PoolguardError
from poolguard.lease.terms import Row
from poolguard.lease.topics import Topic, Topics

MAX_WATCHES: Final = 500
"""Half of the connections that the control listener takes: lease requests keep the other half."""
_NAMES_AT_ONCE: Final = 200


class Listener(Protocol):
    """Who hears of releases."""

    @property
    def listening(self) -> bool:
        """Whether it does now."""
        ...

    async def run(self) -> None:
        """Listen until cancelled."""
        ...


MakeListener = Callable[[Callable[[str | None], None]], Listener]
"""Makes a Listener that calls what it is given with each name that it hears of; None: some may have been missed."""


class Watch:
    """Some leases, as one watcher sees them. Made by `Watcher.watch`."""

    def __init__(self, topics: Topics, names: Sequence[str], clock: Clock) -> None:
        self._topics: Final = topics
        self._clock: Final = clock
        self.names: Final = names
        self.news: Final = asyncio.Event()
        """Set when one of them changed, or when that can't be known any more."""
        self.failure: PoolguardError | None = None
        """Why the leases could not be looked at; None: they could."""

    def topic(self, name: str) -> Topic:
        """What is known of *name*."""
        topic = self._topics.get(name)
        assert topic is not None, "what is watched has a topic"
        return topic

    async def changed(self, deadline: float) -> bool:
        """Wait for news, to *deadline* (monotonic) at most; False: there were none."""
        told = await sleep_until_or(self._clock, deadline, self.news)
        self.news.clear()
        return told


class Watcher:
    """Looks at what is watched. *read* asks PostgreSQL for several leases at once; *held_here* says which ones are
    worth a look although nobody watches them: their holder must learn of a release by force.
    """

    def __init__(
        self,
        read: Callable[[Sequence[str]], Awaitable[Collection[Row]]],
        held_here: Callable[[str], bool],
        clock: Clock,
        make_listener: MakeListener,
    ) -> None:
        self._read: Final = read
        self._held_here: Final = held_here
        self._clock: Final = clock
        self._topics: Final = Topics()
        self._watches: Final[dict[str, set[Watch]]] = {}
        self._number = 0
        self._unwatched: Final[set[str]] = set()
        self._wake: Final = asyncio.Event()
        self.wanted: Final = asyncio.Event()
        """Set once anything was watched: from then on it is worth listening for releases."""
        self.listener: Final = make_listener(self.heard)

    @contextmanager
    def watch(self, names: Sequence[str]) -> Iterator[Watch]:
        """Watch *names* within the block. Raises LeaseBusy if too much is watched already."""
        if self._number >= MAX_WATCHES or not self._topics.room_for(names):
            raise LeaseBusy(f"{self._number} watch leases already: too many", hint="Ask without waiting.")
        watch = Watch(self._topics, names, self._clock)
        self._number += 1
        self._topics.watch(names)
        for name in names:
            self._watches.setdefault(name, set()).add(watch)
        self._wake.set()
        self.wanted.set()
        try:
            yield watch
        finally:
            self._number -= 1
            self._topics.unwatch(names)
            for name in names:
                self._watches[name].discard(watch)
                if not self._watches[name]:
                    del self._watches[name]

    def heard(self, name: str | None) -> None:
        """Take in a notification; None: some may have been missed."""
        now = self._clock.monotonic()
        if name is None:
            self._topics.wake_all(now=now, jitter=_jitter())
        else:
            self._topics.wake(name, now=now, jitter=_jitter())
            if self._topics.get(name) is None and self._held_here(name):
                self._unwatched.add(name)
        self._wake.set()

    def saw(self, row: Row) -> None:
        """Take in what PostgreSQL answered to somebody's request."""
        self._saw(row.name, row)

    async def run(self) -> None:
        """Look, until cancelled."""
        while True:
            self._wake.clear()
            names = [*self._topics.due(now=self._clock.monotonic(), limit=_NAMES_AT_ONCE), *self._unwatched]
            self._unwatched.clear()
            if names:
                await self._look(names)
            else:
                await sleep_until_or(self._clock, self._topics.next_due(), self._wake)

    async def _look(self, names: Sequence[str]) -> None:
        try:
            rows = {row.name: row for row in await self._read(names)}
        except PoolguardError as error:
            self._topics.failed(names, now=self._clock.monotonic())
            for watch in self._watching(names):
                if watch.failure is None:
                    watch.news.set()
                watch.failure = error
            return
        for watch in self._watching(names):
            if watch.failure is not None:
                watch.news.set()
            watch.failure = None
        for name in names:
            self._saw(name, rows.get(name))

    def _saw(self, name: str, row: Row | None) -> None:
        listening = self.listener.listening
        if self._topics.saw(name, row, now=self._clock.monotonic(), listening=listening, jitter=_jitter()):
            for watch in self._watches.get(name, ()):
                watch.news.set()
            self._wake.set()

    def _watching(self, names: Iterable[str]) -> Iterator[Watch]:
        for name in names:
            yield from self._watches.get(name, ())


def _jitter() -> float:
    return random()  # noqa: S311 - spreads load, keeps no secret
