"""The relay as logins see it: who may come in, who gives way, and that nothing is left of those who go."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from poolguard.aio.tasks import TaskOwner
from poolguard.core.errors import IdleTransactionEnded
from poolguard.core.ids import TransactionId
from poolguard.ledger.book import Ledger
from poolguard.ledger.hands import Outcome
from poolguard.relay.arrivals import GRACE_SECONDS
from poolguard.relay.door import Door
from poolguard.relay.login import Login
from poolguard.relay.relay import Relay
from poolguard.settings.model import AuthMethod, Limits, Settings, Upstream
from poolguard.upstream.target import resolve_target
from poolguard.wire import startup
from tests.support.clock import ManualClock
from tests.support.relaying import FakeTransport, errors

HALF = startup.startup_packet({"user": "app"})[:10]


class Entrance:
    """A relay that doesn't listen: clients come by hand."""

    def __init__(self, limits: Limits) -> None:
        self.clock = ManualClock()
        self.failures: list[BaseException] = []
        self.ledger = Ledger()
        settings = Settings(limits=limits, upstream=Upstream(url="postgresql://app@127.0.0.1:1/x"))
        target = resolve_target(settings.upstream, {})
        self.settings = settings
        self.relay = Relay(
            settings,
            clock=self.clock,
            ledger=self.ledger,
            tasks=TaskOwner(lambda _name, error: self.failures.append(error)),
            target_of=lambda _pool: target,
            door=door(),
            on_starved=lambda *_: None,
            on_error=lambda *_: None,
        )

    def comes(self, said: bytes = b"") -> FakeTransport:
        """A client connects."""
        transport, login = FakeTransport(), Login(self.relay)
        transport.protocol = login
        login.connection_made(transport)
        if said:
            login.data_received(said)
        return transport

    @property
    def refused(self) -> dict[str, int]:
        """Clients that were turned away, by reason."""
        return {reason: number for reason, number in self.relay.counters.clients_refused_total.items() if number}


def door(login_timeout: float = 60.0) -> Door:
    return Door(method=AuthMethod.TRUST, secrets={}, seed=b"s" * 32, login_timeout=login_timeout)


@pytest.fixture
async def entrance() -> AsyncIterator[Entrance]:
    """Two may be logging in at once."""
    entrance = Entrance(Limits(max_logins=2))
    yield entrance
    await entrance.relay.stop()
    await turn()
    assert not entrance.ledger.sessions
    assert not entrance.failures


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def told(transport: FakeTransport) -> list[tuple[str, str]]:
    return [(error["S"], error["C"]) for error in errors(bytes(transport.written))]


async def test_s14_the_oldest_half_said_login_gives_way(entrance: Entrance) -> None:
    """Whoever opens connections and says nothing keeps nobody out."""
    oldest, second = entrance.comes(HALF), entrance.comes()
    await entrance.clock.advance(GRACE_SECONDS)
    third = entrance.comes()
    await turn()
    assert told(oldest) == [("FATAL", "53300")]
    assert [t.closing for t in (oldest, second, third)] == [True, False, False]
    assert entrance.refused == {"max_logins": 1}
    assert len(entrance.ledger.sessions) == 2


async def test_s14_a_herd_does_not_end_its_own(entrance: Entrance) -> None:
    """Logins that have only just begun are as good as the one that comes."""
    first, second = entrance.comes(), entrance.comes()
    await entrance.clock.advance(GRACE_SECONDS / 2)
    third = entrance.comes()
    await turn()
    assert told(third) == [("FATAL", "53300")]
    assert [t.closing for t in (first, second, third)] == [False, False, True]
    assert entrance.refused == {"max_logins": 1}


async def test_who_goes_makes_room(entrance: Entrance) -> None:
    first, _ = entrance.comes(HALF), entrance.comes()
    first.close()
    await turn()
    assert not entrance.comes().closing
    assert entrance.refused == {}


async def test_one_that_goes_in_the_turn_in_which_it_came_leaves_nothing(entrance: Entrance) -> None:
    entrance.comes().protocol.connection_lost(None)
    assert not entrance.ledger.sessions


async def test_too_many_bytes_before_the_login_end_it(entrance: Entrance) -> None:
    """S7: a client that does not wait to be let in."""
    transport = entrance.comes(startup.startup_packet({"user": "app"}) + b"x" * 70_000)
    await turn()
    assert told(transport) == [("FATAL", "08P01")]
    assert entrance.refused == {"protocol": 1}


async def test_draining_ends_logins_and_takes_no_more(entrance: Entrance) -> None:
    before = entrance.comes(HALF)
    await entrance.relay.drain(entrance.clock.monotonic())
    after = entrance.comes()
    await turn()
    assert (told(before), told(after)) == ([("FATAL", "57P01")], [("FATAL", "57P01")])
    assert entrance.refused == {"stopping": 2}


async def test_k1_a_cancel_request_for_nobody_is_answered_with_nothing(entrance: Entrance) -> None:
    for key in (b"1234", b"x" * 256):
        transport = entrance.comes(startup.cancel_request(1, key))
        await turn()
        assert (bytes(transport.written), transport.closing) == (b"", True)
    assert entrance.relay.counters.cancel_requests_total == 2
    assert entrance.refused == {}


async def test_a_reload_counts_for_the_next_that_comes(entrance: Entrance) -> None:
    entrance.relay.reconfigure(Settings(limits=Limits(max_logins=1)), door(), frozenset())
    entrance.comes()
    assert entrance.comes().closing


async def test_what_is_done_to_a_session_that_is_gone_misses(entrance: Entrance) -> None:
    gone = TransactionId.parse("1-1")
    error = IdleTransactionEnded("x")
    assert await entrance.relay.cancel(gone) is Outcome.VICTIM_MOVED
    assert await entrance.relay.rollback(gone, error) is Outcome.VICTIM_MOVED
    assert await entrance.relay.terminate(gone, error) is Outcome.VICTIM_MOVED
