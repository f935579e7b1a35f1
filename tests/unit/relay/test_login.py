"""A client's login: at once where nothing is awaited, and the same to the client where it comes in pieces."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from poolguard.relay.session import Session
from poolguard.settings.model import AuthMethod, Limits
from poolguard.wire import messages, startup
from poolguard.wire.framing import FrameSplitter
from tests.support.fakepg import GREETING
from tests.support.relaying import FakeTransport
from tests.unit.relay.test_relay import Entrance, door, told, turn

HELLO = startup.startup_packet({"user": "app", "application_name": "shop"})
READY = messages.READY[b"I"[0]]


@pytest.fixture
async def entrance() -> AsyncIterator[Entrance]:
    """One client may be in, and PostgreSQL has been met."""
    entrance = Entrance(Limits(max_clients=1))
    asked = startup.parse_packet(HELLO)
    assert isinstance(asked, startup.Startup)
    entrance.relay.lobby_for(asked).greeting = dict(GREETING)
    yield entrance
    await entrance.relay.stop()
    await turn()
    assert not entrance.ledger.sessions
    assert not entrance.failures


def reported(transport: FakeTransport) -> list[tuple[str, bytes]]:
    """The messages that a client got, but for its key."""
    frames = FrameSplitter(max_body=10_000).feed(bytes(transport.written))
    return [(chr(tag), body) for tag, body in frames if tag != b"K"[0]]


async def test_a_client_that_proves_nothing_and_is_known_is_in_at_once(entrance: Entrance) -> None:
    transport = entrance.comes(HELLO)
    assert isinstance(transport.protocol, Session)
    assert transport.written.endswith(READY)
    assert ("S", b"application_name\0shop\0") in reported(transport)
    assert [(s.user, s.database, s.application_name) for s in entrance.ledger.sessions.values()] == [
        ("app", "app", "shop")
    ]


@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_however_a_login_is_cut_the_client_hears_the_same(entrance: Entrance, piece: int) -> None:
    whole = entrance.comes(HELLO)
    expected = reported(whole)
    whole.close()
    await turn()
    transport = entrance.comes()
    for at in range(0, len(HELLO), piece):
        transport.protocol.data_received(HELLO[at : at + piece])
    await turn()
    assert reported(transport) == expected


async def test_encryption_is_declined_at_once_and_the_login_goes_on(entrance: Entrance) -> None:
    transport = entrance.comes(startup.ssl_request())
    assert transport.written == b"N"
    transport.protocol.data_received(HELLO)
    assert transport.written.endswith(READY)


async def test_s1_encryption_is_declined_once(entrance: Entrance) -> None:
    transport = entrance.comes(startup.ssl_request())
    transport.protocol.data_received(startup.ssl_request())
    await turn()
    assert transport.written.startswith(b"NE")
    assert entrance.refused == {"protocol": 1}


async def test_s2_what_comes_with_an_encryption_request_is_refused(entrance: Entrance) -> None:
    """CVE-2021-23222: also where the whole login came with it."""
    transport = entrance.comes(startup.ssl_request() + HELLO)
    await turn()
    assert told(transport) == [("FATAL", "08P01")]


async def test_what_is_said_behind_a_login_is_not_lost(entrance: Entrance) -> None:
    transport = entrance.comes(HELLO + messages.query("begin"))
    await turn()
    assert transport.written.endswith(READY + messages.command_complete("BEGIN") + messages.READY[b"T"[0]])


async def test_one_more_than_max_clients_is_told_so_and_leaves_nothing(entrance: Entrance) -> None:
    entrance.comes(HELLO)
    second = entrance.comes(HELLO)
    assert told(second) == [("FATAL", "53300")]
    assert entrance.refused == {"max_clients": 1}
    assert len(entrance.ledger.sessions) == 1


async def test_a_lease_that_is_not_held_lets_nobody_in(entrance: Entrance) -> None:
    transport = entrance.comes(startup.startup_packet({"user": "app", "poolguard.lease": "nobodys"}))
    assert told(transport) == [("FATAL", "55000")]
    assert entrance.refused == {"not_leader": 1}
    assert not entrance.ledger.sessions


async def test_a_lease_without_a_name_is_refused_and_told(entrance: Entrance) -> None:
    transport = entrance.comes(startup.startup_packet({"user": "app", "poolguard.lease": ""}))
    await turn()
    assert told(transport) == [("FATAL", "22023")]
    assert entrance.refused == {"protocol": 1}


async def test_nobody_is_let_in_at_once_who_has_to_prove_something(entrance: Entrance) -> None:
    plain = door()
    entrance.relay.use_door(type(plain)(method=AuthMethod.SCRAM, secrets={}, seed=plain.seed, login_timeout=60.0))
    transport = entrance.comes(HELLO)
    assert transport.written == b""
    await turn()
    assert transport.written.startswith(b"R")
    assert not isinstance(transport.protocol, Session)
    transport.close()
    await turn()


@pytest.mark.parametrize("said", [b"", HELLO[:10]], ids=["nothing", "half of it"])
async def test_a_login_ends_in_time_whatever_was_said(entrance: Entrance, said: bytes) -> None:
    entrance.relay.use_door(door(login_timeout=0.0))
    transport = entrance.comes(said)
    async with asyncio.timeout(5):
        while not transport.closing:  # noqa: ASYNC110 - the loop's own timer is due at its next turn
            await asyncio.sleep(0)
    assert told(transport) == [("FATAL", "08P01")]
    assert entrance.refused == {"login_timeout": 1}


async def test_time_ends_no_session(entrance: Entrance) -> None:
    entrance.relay.use_door(door(login_timeout=0.0))
    transport = entrance.comes(HELLO)
    await turn()
    assert isinstance(transport.protocol, Session)
    assert not transport.closing


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_a_session_that_has_ended_is_freed_without_the_collector(entrance: Entrance) -> None:
    """Collections stop the loop: applications that connect for every request must not call for them."""
    with without_collector():
        transport = entrance.comes(HELLO)
        transport.protocol.data_received(messages.TERMINATE)
        await turn()
        transport.protocol = cast("asyncio.Protocol", None)  # as the loop's transports do
        assert [one for one in gc.get_objects() if isinstance(one, Session)] == []
