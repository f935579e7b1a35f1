"""One client's connection to the console."""

import asyncio

import pytest

from poolguard.aio.tasks import TaskOwner
from poolguard.console.answers import Answers
from poolguard.console.visit import MOST_BODY, MOST_UNHEARD, Visit
from poolguard.core.errors import ShuttingDown
from poolguard.relay.visitors import Visitor
from poolguard.wire.framing import FrameSplitter
from poolguard.wire.messages import parameter_of
from tests.support.console import Behind, asked
from tests.support.relaying import FakeTransport, errors, tags
from tests.support.speech import SYNC, TERMINATE, message, query


class Client:
    """A client in the console."""

    def __init__(self, early: bytes = b"", **options: str) -> None:
        self.failures: list[BaseException] = []
        self.tasks = TaskOwner(lambda _name, error: self.failures.append(error))
        self.behind = Behind()
        self.transport = FakeTransport()
        self.gone: list[Visit] = []
        startup = asked(**options)
        self.visit = Visit(
            Visitor(self.transport, startup, 7, "127.0.0.1:40000", early),
            Answers(self.behind.sources, startup, "127.0.0.1:40000").perform,
            clock=self.behind.clock,
            on_gone=self.gone.append,
        )
        self.task = self.tasks.spawn(self.visit.run(), name="talk")

    async def ask(self, data: bytes) -> bytes:
        heard = len(self.transport.written)
        self.transport.protocol.data_received(data)
        await self.rest()
        return bytes(self.transport.written[heard:])

    async def rest(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        assert not self.failures


async def test_the_greeting_is_what_drivers_look_for() -> None:
    client = Client(application_name="psql")
    frames = FrameSplitter(max_body=1000).feed(bytes(client.transport.written))
    told = dict(parameter_of(body) for tag, body in frames if tag == b"S"[0])
    assert told["client_encoding"] == "UTF8"
    assert told["application_name"] == "psql"
    assert told["session_authorization"] == "ops"
    assert told["standard_conforming_strings"] == told["integer_datetimes"] == "on"
    assert "poolguard" in told["server_version"]
    assert tags(bytes(client.transport.written)) == f"R{'S' * len(told)}KZi"


async def test_what_came_with_the_login_is_answered() -> None:
    client = Client(early=query("SHOW VERSION"))
    await client.rest()
    assert tags(bytes(client.transport.written)).endswith("ZiTDCZi")


async def test_a_message_may_come_in_pieces() -> None:
    client = Client()
    said = query("SHOW VERSION")
    for byte in said[:-1]:
        assert await client.ask(bytes([byte])) == b""
    assert tags(await client.ask(said[-1:])) == "TDCZi"


async def test_goodbye_closes_the_connection() -> None:
    client = Client()
    assert await client.ask(TERMINATE) == b""
    assert client.transport.closing
    assert client.gone == [client.visit]
    assert client.task.done()


async def test_a_client_that_vanishes_leaves_nothing() -> None:
    client = Client()
    client.transport.close()
    await client.rest()
    assert client.task.done()
    assert client.gone == [client.visit]


@pytest.mark.parametrize(
    "said", [b"Q" + (MOST_BODY + 5).to_bytes(4, "big"), b"Q" + bytes(4), message(b"p", b"secret\0")]
)
async def test_what_breaks_the_protocol_is_fatal(said: bytes) -> None:
    client = Client()
    [error] = errors(await client.ask(said))
    assert (error["S"], error["C"]) == ("FATAL", "08P01")
    assert client.transport.closing


async def test_who_is_sent_away_is_told_why() -> None:
    client = Client()
    client.visit.end(ShuttingDown("poolguard is stopping"))
    client.visit.end(ShuttingDown("poolguard is stopping"))
    await client.rest()
    assert [error["C"] for error in errors(bytes(client.transport.written))] == ["57P01"]
    assert client.transport.closing
    assert client.task.done()


async def test_who_does_not_read_is_not_answered_before_it_does() -> None:
    client = Client()
    client.transport.stuck = True
    heard = len(client.transport.written)
    await client.ask(query("SHOW VERSION") * 10)
    assert len(client.transport.buffer) < 300  # the first answer found no room: the others are not made
    client.transport.flow()
    await client.rest()
    await client.rest()
    assert tags(bytes(client.transport.written[heard:])) == "TDCZi" * 10


async def test_who_sends_more_than_is_answered_is_not_read() -> None:
    client = Client()
    client.transport.stuck = True
    await client.ask(query("SHOW VERSION"))
    await client.ask(SYNC * (MOST_UNHEARD // 5 + 1))
    assert client.transport.paused
    client.transport.flow()
    await client.rest()
    assert not client.transport.paused


async def test_when_the_client_spoke_last_is_known() -> None:
    client = Client()
    await client.behind.clock.advance(5.0)
    assert client.visit.heard_at == 1000.0
    await client.ask(query("SHOW VERSION"))
    assert client.visit.heard_at == 1005.0
