"""All visits to the console."""

import asyncio

from poolguard.aio.tasks import TaskOwner
from poolguard.console.console import MOST_VISITS, Console
from poolguard.relay.visitors import Visitor
from tests.support.console import Behind, asked
from tests.support.relaying import FakeTransport, sqlstates
from tests.support.speech import query


class Desk:
    """A console and its visitors."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self.behind = Behind()
        self.console = Console(self.behind.sources, TaskOwner(lambda _name, error: self.failures.append(error)))

    def comes(self) -> FakeTransport:
        transport = FakeTransport()
        self.console.visit(Visitor(transport, asked(), 1, "127.0.0.1:1"))
        return transport

    async def rest(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        assert not self.failures


def test_the_databases_name_leads_to_it() -> None:
    console = Desk().console
    assert console.wanted(asked("poolguard"))
    assert not console.wanted(asked("app", user="poolguard"))
    assert not console.wanted(asked("Poolguard"))


def test_a_replication_connection_never_does() -> None:
    assert not Desk().console.wanted(asked("poolguard", replication="database"))


async def test_who_was_silent_longest_makes_room() -> None:
    desk = Desk()
    clients = []
    for _ in range(MOST_VISITS):
        clients.append(desk.comes())
        await desk.behind.clock.advance(1.0)
    clients[0].protocol.data_received(query("SHOW VERSION"))
    await desk.rest()
    desk.comes()
    await desk.rest()
    assert [client.closing for client in clients] == [False, True] + [False] * (MOST_VISITS - 2)
    assert sqlstates(bytes(clients[1].written)) == ["53300"]


async def test_who_goes_makes_room() -> None:
    desk = Desk()
    clients = [desk.comes() for _ in range(MOST_VISITS)]
    clients[3].close()
    await desk.rest()
    desk.comes()
    await desk.rest()
    assert sum(client.closing for client in clients) == 1


async def test_a_client_that_has_gone_already_is_no_visitor() -> None:
    desk = Desk()
    transport = FakeTransport()
    transport.closing = True
    desk.console.visit(Visitor(transport, asked(), 1, "127.0.0.1:1"))
    assert not transport.written


async def test_visits_outlast_the_drain_and_end_with_the_stop() -> None:
    desk = Desk()
    client = desk.comes()
    await desk.console.start()
    await desk.console.drain(2000.0)
    await desk.rest()
    assert not client.closing
    await desk.console.stop()
    await desk.console.stop()
    await desk.rest()
    assert sqlstates(bytes(client.written)) == ["57P01"]
    assert client.closing
