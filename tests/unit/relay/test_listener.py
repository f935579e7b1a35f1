"""The listening server of a pool, against one that a test plays."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest

from poolguard.aio.tasks import TaskOwner
from poolguard.core.errors import PoolguardError, UpstreamUnavailable
from poolguard.relay import listener as module
from poolguard.relay.counters import RelayCounters
from poolguard.relay.listener import Listener
from poolguard.settings.model import Pool
from poolguard.upstream.link import Link
from poolguard.wire import messages
from poolguard.wire.framing import FrameSplitter
from poolguard.wire.subscriptions import Subscription
from tests.support.relaying import FakeTransport

DONE = messages.command_complete("LISTEN") + messages.READY[b"I"[0]]
REFUSED = messages.error_response("25006", "cannot execute LISTEN during recovery") + messages.READY[b"I"[0]]


def notification(channel: bytes, payload: bytes = b"", pid: int = 7) -> bytes:
    return messages.message(b"A", pid.to_bytes(4, "big") + channel + b"\0" + payload + b"\0")


class Hearer:
    """Somebody who listens, with room for so many."""

    def __init__(self, room: int = 10**6) -> None:
        self.told: list[bytes] = []
        self.warned = 0
        self.room = room

    def tell(self, pid: int, message: bytes) -> bool:
        if len(self.told) >= self.room:
            return False
        self.told.append(message)
        return True

    def warn(self, notice: bytes) -> None:
        self.warned += 1

    def changed(self) -> None:
        pass


class House:
    """A listener, and the servers that it opened."""

    def __init__(self) -> None:
        self.counters = RelayCounters()
        self.transports: list[FakeTransport] = []
        self.failure: PoolguardError | None = None
        self.answers: list[bool] = []
        self.number = 0
        self.settings = Pool(idle_timeout=10.0)
        self.tasks = TaskOwner(lambda _name, _error: None)
        self.listener = Listener("app", lambda: self.settings, self._open, tasks=self.tasks, counters=self.counters)

    async def _open(self) -> Link:
        if self.failure is not None:
            raise self.failure
        self.transports.append(FakeTransport())
        return cast("Link", SimpleNamespace(transport=self.transports[-1]))

    @property
    def asked(self) -> list[str]:
        """What the newest server was told to run."""
        frames = FrameSplitter(max_body=10**6).feed(bytes(self.transports[-1].written))
        return [body[:-1].decode() for tag, body in frames if tag == b"Q"[0]]

    def say(self, *data: bytes) -> None:
        """What the newest server answers."""
        self.transports[-1].protocol.data_received(b"".join(data))

    async def rest(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def need(self, *channels: bytes, hearer: Hearer | None = None) -> None:
        """Somebody needs *channels*, and listens to them as soon as they are heard."""
        whose = hearer or Hearer()

        def go_on(heard: bool) -> None:
            self.answers.append(heard)
            if heard:
                wanted = tuple(Subscription(True, channel) for channel in channels)
                self.number = self.listener.book.propose(whose, wanted)

        if self.listener.require(channels, go_on):
            go_on(True)
        await self.rest()

    async def listening(self, *channels: bytes, room: int = 10**6) -> Hearer:
        """Somebody who hears *channels*."""
        hearer = Hearer(room)
        answered = len(self.answers)
        await self.need(*channels, hearer=hearer)
        if len(self.answers) == answered:
            self.say(DONE)
        self.say(notification(self.marks, b"%d" % self.number))
        return hearer

    @property
    def marks(self) -> bytes:
        return self.listener.mark(1).split(b'"')[1]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    house.listener.stop()
    await house.tasks.close()


async def test_nothing_is_opened_before_somebody_listens(house: House) -> None:
    house.listener.tend()
    await house.rest()
    assert not house.transports


async def test_who_needs_a_channel_goes_on_when_it_is_heard(house: House) -> None:
    """A1: the race on the first subscription."""
    await house.need(b"a")
    assert house.answers == []
    assert house.asked[0].endswith(';LISTEN "a"')
    house.say(DONE)
    assert house.answers == [True]
    await house.need(b"a")
    assert house.answers == [True, True]
    await house.need(b"b", b'c"')
    assert sorted(house.asked[1].split(";")) == ['LISTEN "b"', 'LISTEN "c"""']


async def test_channels_that_are_asked_for_while_it_opens_are_heard_too(house: House) -> None:
    await asyncio.gather(house.need(b"a"), house.need(b"b"))
    house.say(DONE)
    assert house.answers == [True, True]
    assert house.listener.hears == [b"a", b"b"]


async def test_a_server_that_can_not_be_opened_is_told_to_all_who_wait(house: House) -> None:
    house.failure = UpstreamUnavailable("PostgreSQL does not answer")
    await house.need(b"a")
    await house.need(b"b")
    assert house.answers == [False, False]


async def test_a_standby_that_refuses_listen_is_as_good_as_none(house: House) -> None:
    await house.need(b"a")
    house.say(REFUSED)
    assert house.answers == [False]
    assert house.transports[0].is_closing()


async def test_a_notification_goes_to_those_who_hear_the_channel(house: House) -> None:
    ann, ben = await house.listening(b"a"), await house.listening(b"a", b"b")
    house.say(notification(b"a", b"1"), notification(b"b", b"2"), notification(b"c", b"3"))
    assert ann.told == [notification(b"a", b"1")]
    assert ben.told == [notification(b"a", b"1"), notification(b"b", b"2")]
    assert house.counters.notifications_total["app"] == 3


async def test_what_there_is_no_room_for_is_counted(house: House) -> None:
    """A1, L4."""
    await house.listening(b"a", room=1)
    house.say(notification(b"a") * 3)
    assert house.counters.notifications_total["app"] == 1
    assert house.counters.notifications_dropped_total["app"] == 2


async def test_many_are_told_in_parts_and_in_order(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's other work has its turn, and PostgreSQL is not read meanwhile."""
    monkeypatch.setattr(module, "TOLD_AT_ONCE", 3)
    hearers = [await house.listening(b"a") for _ in range(4)]
    both = [notification(b"a", b"1"), notification(b"a", b"2")]
    house.say(*both)
    assert [len(hearer.told) for hearer in hearers] == [1, 1, 1, 0]
    assert house.transports[0].is_paused()
    await house.rest()
    assert [hearer.told for hearer in hearers] == [both] * 4
    assert not house.transports[0].is_paused()
    assert house.counters.notifications_dropped_total["app"] == 0


async def test_a_barrier_makes_void_what_was_rolled_back(house: House) -> None:
    hearer = await house.listening(b"a")
    await house.need(b"b", hearer=hearer)
    house.say(DONE)
    house.listener.settle(hearer)
    barrier = house.asked[-1].rsplit("'", 2)[1].encode()
    house.say(DONE, notification(house.marks, barrier))
    assert house.listener.book.wanted == {b"a"}
    assert house.asked[-1] == 'UNLISTEN "b"'


@pytest.mark.parametrize("payload", [b"", b"x", b"-1", b"9" * 4000])
async def test_a_mark_that_is_not_ours_does_nothing(house: House, payload: bytes) -> None:
    hearer = await house.listening(b"a")
    house.say(notification(house.marks, payload), notification(b"a"))
    assert hearer.told == [notification(b"a")]


async def test_what_nobody_hears_any_more_is_unlistened(house: House) -> None:
    ann, ben = await house.listening(b"a"), await house.listening(b"a", b"b")
    house.listener.leave(ben)
    assert house.asked[-1] == 'UNLISTEN "b"'
    house.listener.leave(ann)
    assert house.asked[-1] == 'UNLISTEN "a"'
    assert house.listener.hears == []


async def test_a_lost_server_is_opened_again_and_each_is_warned(house: House) -> None:
    """A1: not before the channels are heard again, so that who looks then misses nothing."""
    ann = await house.listening(b"a")
    house.transports[0].abort()
    await house.rest()
    assert (len(house.transports), ann.warned, house.counters.notification_gaps_total["app"]) == (2, 0, 1)
    assert house.asked[0].endswith('LISTEN "a"')
    house.say(DONE)
    assert ann.warned == 1
    house.say(notification(b"a"))
    assert ann.told == [notification(b"a")]


async def test_a_server_that_breaks_the_protocol_is_lost(house: House) -> None:
    await house.listening(b"a")
    house.say(b"A\xff\xff\xff\xff")
    await house.rest()
    assert len(house.transports) == 2


async def test_a_server_that_nobody_needs_is_closed_after_the_pools_idle_timeout(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    ann = await house.listening(b"a")
    now[0] += 60
    house.listener.tend()
    house.listener.leave(ann)
    now[0] += 9
    house.listener.tend()
    assert not house.transports[0].is_closing()
    now[0] += 2
    house.listener.tend()
    assert house.transports[0].is_closing()
    await house.need(b"a")
    assert len(house.transports) == 2


async def test_another_postgresql_is_a_gap(house: House) -> None:
    ann = await house.listening(b"a")
    house.listener.renew()
    await house.rest()
    house.say(DONE)
    assert (len(house.transports), ann.warned) == (2, 1)


async def test_a_listener_that_stopped_opens_nothing(house: House) -> None:
    await house.listening(b"a")
    house.listener.stop()
    assert house.transports[0].written.endswith(messages.TERMINATE)
    await house.need(b"a")
    assert house.answers[-1] is False
    assert len(house.transports) == 1
