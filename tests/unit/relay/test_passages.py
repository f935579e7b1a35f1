"""Both ends of a replication connection; how they are opened is in tests/integration/relay/test_replication.py."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from poolguard.aio.tasks import TaskOwner
from poolguard.core.errors import NotLeader, NotSupported, ShuttingDown
from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import SessionEntry
from poolguard.relay.bound import Bound, no_leases
from poolguard.relay.passages import Passages
from poolguard.settings.model import Pool
from poolguard.upstream.link import Link
from poolguard.upstream.target import Target
from tests.support.relaying import FakeTransport, tags


def nowhere(pool: Pool) -> Target:
    raise AssertionError(f"{pool}: nothing is to be opened")


def no_failure(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name}: {error}")


class Two:
    """A client and its server, greeted."""

    def __init__(self, *, minor: int = 0, early: bytes = b"", lease: str = "") -> None:
        self.ledger = Ledger()
        self.held = {"sched"}
        self.bound = Bound(self.held.__contains__)
        self.passages = Passages(self.ledger, self.bound, TaskOwner(no_failure), nowhere, lambda: 4)
        self.client, self.server = FakeTransport(), FakeTransport()
        self.server.paused = True
        self.entry: SessionEntry = self.ledger.open_session(client_address="unix", now=0.0)
        link = SimpleNamespace(transport=self.server, parameters={"TimeZone": "UTC"}, backend_pid=7)
        self.passages.begin(self.client, cast("Link", link), self.entry, minor=minor, early=early, lease=lease)


async def test_the_client_is_greeted_and_what_it_said_early_goes_on() -> None:
    two = Two(early=b"IDENTIFY_SYSTEM")
    assert tags(bytes(two.client.written)) == "RSKZi"
    assert bytes(two.server.written) == b"IDENTIFY_SYSTEM"
    assert not two.server.paused, "reading was paused until there was somebody to read for"
    assert two.entry.session_id in two.passages


@pytest.mark.parametrize(("minor", "length"), [(0, 4), (2, 32)])
async def test_keys_are_as_long_as_the_protocol_wants_them(minor: int, length: int) -> None:
    """S6."""
    written = bytes(Two(minor=minor).client.written)
    at = written.index(b"K")
    assert int.from_bytes(written[at + 1 : at + 5], "big") == 8 + length


async def test_every_byte_is_passed_on_both_ways() -> None:
    two = Two()
    heard = len(two.client.written)
    two.client.protocol.data_received(b"\x00\xffZ")
    two.server.protocol.data_received(b"half a mess")
    assert (bytes(two.server.written), bytes(two.client.written[heard:])) == (b"\x00\xffZ", b"half a mess")


async def test_whoever_does_not_read_stops_the_other() -> None:
    """C8, L5."""
    two = Two()
    for reader, writer in ((two.client, two.server), (two.server, two.client)):
        reader.stuck = True
        writer.protocol.data_received(b"x")
        assert writer.is_paused()
        reader.flow()
        assert not writer.is_paused()


@pytest.mark.parametrize("who", ["client", "server"])
async def test_the_end_of_one_is_the_end_of_the_other_and_nothing_is_left(who: str) -> None:
    two = Two()
    (two.client if who == "client" else two.server).close()
    await asyncio.sleep(0)
    assert two.client.closing
    assert two.server.closing
    assert (len(two.passages), two.ledger.sessions) == (0, {})
    two.client.protocol.data_received(b"too late")
    assert b"too late" not in two.server.written


async def test_after_the_end_nobody_begins() -> None:
    two = Two()
    two.passages.end()
    two.passages.end()
    assert two.client.closing
    server, entry = FakeTransport(), two.ledger.open_session(client_address="unix", now=0.0)
    server.protocol = asyncio.Protocol()
    link = cast("Link", SimpleNamespace(transport=server, parameters={}, backend_pid=7))
    with pytest.raises(ShuttingDown):
        two.passages.begin(FakeTransport(), link, entry, minor=0, early=b"")
    assert server.aborted


async def test_a_lease_must_be_held_when_it_is_opened_and_still_when_it_begins() -> None:
    two = Two()
    with pytest.raises(NotLeader):
        await two.passages.open(Pool(), "true", {}, "other")
    server, entry = FakeTransport(), two.ledger.open_session(client_address="unix", now=0.0)
    server.protocol = asyncio.Protocol()
    link = cast("Link", SimpleNamespace(transport=server, parameters={}, backend_pid=7))
    with pytest.raises(NotLeader):
        two.passages.begin(FakeTransport(), link, entry, minor=0, early=b"", lease="other")
    assert server.aborted
    assert entry.session_id not in two.passages
    assert not two.bound.to("other")


async def test_whose_lease_ends_is_bound_to_nothing_afterwards() -> None:
    two = Two(lease="sched")
    assert two.bound.to("sched") == [two.entry.session_id]
    two.client.close()
    await asyncio.sleep(0)
    assert not two.bound.to("sched")


async def test_none_are_taken_where_the_limit_is_0() -> None:
    passages = Passages(Ledger(), Bound(no_leases), TaskOwner(no_failure), nowhere, lambda: 0)
    with pytest.raises(NotSupported, match="max_replication is 0"):
        await passages.open(Pool(), "true", {})
