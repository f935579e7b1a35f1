"""A server between its guests."""

from collections.abc import AsyncIterator

import pytest

from poolguard.pool.snapshot import CloseReason
from poolguard.relay.pipe import IDLE
from poolguard.relay.server import Server
from poolguard.wire import messages
from tests.support.fakepg import row
from tests.support.relaying import House
from tests.support.speech import query


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.client().ask(query("SELECT 1"))
    yield house
    await house.close()


def server_of(house: House) -> Server:
    server = house.upstreams[0].server
    assert server is not None
    return server


@pytest.mark.parametrize("data", [messages.notice_response("00000", "x"), messages.parameter_status("TimeZone", "UTC")])
async def test_notices_and_parameters_do_not_disturb_a_server_at_rest(house: House, data: bytes) -> None:
    server_of(house).data_received(data)
    assert not server_of(house).closed
    house.check_at_rest()


async def test_a_row_that_nobody_asked_for_closes_the_server(house: House) -> None:
    server_of(house).data_received(row("whose?"))
    assert server_of(house).closed
    assert house.pool.snapshot(0.0).closed_total[CloseReason.NOISE] == 1


async def test_a_ready_for_query_that_nobody_asked_for_loses_the_server(house: House) -> None:
    server = server_of(house)
    server.data_received(messages.READY[IDLE])
    assert server.transport.is_closing()


async def test_a_server_that_may_answer_a_sync_late_serves_nobody_else(house: House) -> None:
    """C3: what PostgreSQL said to a Sync in COPY goes to the client that sent it; then the server is closed."""
    client = house.client()
    await client.ask(query("BEGIN"))
    await client.ask(query("SELECT 1"))
    server = server_of(house)
    server.doubts()
    heard = len(client.heard)
    server.data_received(messages.READY[IDLE])
    assert client.heard[heard:] == messages.READY[IDLE]
    assert house.pool.snapshot(0.0).pinned == 1
    client.go()
    await house.rest()
    assert server.closed
    house.check_at_rest()


async def test_last_words_between_guests_lose_the_server_at_once(house: House) -> None:
    server_of(house).data_received(house.postgres.die())
    assert server_of(house).closed
    assert house.pool.snapshot(0.0).closed_total[CloseReason.LOST] == 1


async def test_closing_says_goodbye_once(house: House) -> None:
    server = server_of(house)
    server.discard(CloseReason.IDLE)
    server.discard(CloseReason.IDLE)
    assert house.postgres.said_goodbye
    assert house.upstreams[0].transport.written.count(messages.TERMINATE) == 1
