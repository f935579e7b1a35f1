"""Opening a link, and cancelling on it, against servers that misbehave, on both loops."""

import asyncio
import contextlib
import socket
from base64 import b64encode

import pytest

from poolguard.core.errors import ServerViolation, UpstreamRefused, UpstreamUnavailable
from poolguard.upstream.dial import Address
from poolguard.upstream.endpoint import Endpoint, SessionAttrs
from poolguard.upstream.link import Link, open_link, send_cancel
from poolguard.upstream.target import Target
from poolguard.upstream.tls import SslMode, TlsSettings
from poolguard.wire.messages import (
    AUTHENTICATION_OK,
    READY,
    authentication_sasl,
    authentication_sasl_continue,
    backend_key_data,
    error_response,
    parameter_status,
)
from poolguard.wire.scram import SCRAM
from poolguard.wire.startup import CancelRequest, parse_packet
from tests.unit.upstream.scripted import Script, served

GREETING = AUTHENTICATION_OK + parameter_status("TimeZone", "UTC") + backend_key_data(7, b"1234") + READY[ord("I")]


def target(*addresses: Address, timeout: float = 20.0, session_attrs: SessionAttrs = SessionAttrs.ANY) -> Target:
    return Target(
        endpoints=tuple(
            Endpoint(host=address.endpoint.host, port=address.endpoint.port, password="secret") for address in addresses
        ),
        user="app",
        database="shop",
        tls=TlsSettings(mode=SslMode.DISABLE),
        connect_timeout=timeout,
        session_attrs=session_attrs,
    )


async def startup(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(int.from_bytes(head, "big") - 4)


def saying(*answers: bytes) -> Script:
    """Answer the startup packet, then wait for our side."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        for answer in answers:
            writer.write(answer)
            await writer.drain()

    return script


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pass


class Owner(asyncio.Protocol):
    def __init__(self) -> None:
        self.got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.got.set_result(data)


async def test_a_link_is_handed_over_paused_and_loses_no_byte(loop_kind: str) -> None:
    go_on = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        writer.write(GREETING)
        await go_on.wait()
        writer.write(b"for the owner")

    async with served(script) as address:
        link = await open_link(target(address), parameters={})
        assert not link.transport.is_reading()
        go_on.set()
        owner = Owner()
        link.transport.set_protocol(owner)
        link.transport.resume_reading()
        assert await owner.got == b"for the owner"
        assert (link.backend_pid, link.cancel_key, link.tls) == (7, b"1234", False)
        assert link.parameters == {"TimeZone": "UTC"}
        assert "1234" not in repr(link)
        link.transport.abort()


async def test_what_came_behind_ready_for_query_ends_the_link(loop_kind: str) -> None:
    async with served(saying(GREETING + b"N")) as address:
        with pytest.raises(ServerViolation, match="behind ReadyForQuery"):
            await open_link(target(address), parameters={})


async def test_a_listener_that_never_answers_costs_the_timeout_and_no_more(loop_kind: str) -> None:
    async with served(silent) as address:
        with pytest.raises(UpstreamUnavailable, match=r"127\.0\.0\.1:\d+ did not answer within 0\.\d s"):
            await open_link(target(address, timeout=0.1), parameters={})


async def test_a_listener_that_never_answers_leaves_time_for_the_next(loop_kind: str) -> None:
    async with served(silent) as deaf, served(saying(GREETING)) as good:
        link = await open_link(target(deaf, good, timeout=1.0), parameters={})
        assert link.address.sockaddr == good.sockaddr
        link.transport.abort()


async def test_a_full_backlog_is_a_timeout_too(loop_kind: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = Address(
            endpoint=Endpoint(host="127.0.0.1", port=listener.getsockname()[1]),
            family=socket.AF_INET,
            sockaddr=listener.getsockname(),
        )
        with pytest.raises(UpstreamUnavailable, match="did not answer"):
            await open_link(target(address, timeout=0.1), parameters={})


async def test_a_server_that_starts_is_passed_over_and_one_that_refuses_is_not(loop_kind: str) -> None:
    starting = saying(error_response("57P03", "the database system is starting up", severity="FATAL"))
    refusing = saying(error_response("28P01", "no", severity="FATAL"))
    async with served(starting) as first, served(saying(GREETING)) as good, served(refusing) as no:
        link = await open_link(target(first, good), parameters={})
        assert link.address.endpoint.port == good.endpoint.port
        link.transport.abort()
        with pytest.raises(UpstreamRefused) as refused:
            await open_link(target(no, good), parameters={})
        assert refused.value.sqlstate == "28P01"
        with pytest.raises(UpstreamRefused, match="starting up"):
            await open_link(target(first), parameters={})


async def test_a_server_that_hangs_up_is_passed_over(loop_kind: str) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        writer.close()

    async with served(hang_up) as bad, served(saying(GREETING)) as good:
        link = await open_link(target(bad, good), parameters={})
        link.transport.abort()
        with pytest.raises(UpstreamUnavailable, match="closed the connection before the login was complete"):
            await open_link(target(bad), parameters={})


async def test_a_server_that_reports_too_little_is_not_taken_for_read_write(loop_kind: str) -> None:
    async with served(saying(GREETING)) as address:
        with pytest.raises(UpstreamUnavailable, match="target_session_attrs=read-write"):
            await open_link(target(address, session_attrs=SessionAttrs.READ_WRITE), parameters={})


async def test_many_iterations_are_counted_in_a_thread(loop_kind: str) -> None:
    """The loop runs on meanwhile: were it held up, `turns` could not grow before the proof arrives."""
    turns = 0
    proof_came = asyncio.Event()
    # Another count on each loop: what was derived once is remembered.
    iterations = 300_000 + len(loop_kind)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        writer.write(authentication_sasl((SCRAM,)))
        first = await reader.readuntil(b"r=") + await reader.readexactly(24)
        salt = b64encode(b"0123456789abcdef").decode()
        nonce = first[-24:].decode()
        writer.write(authentication_sasl_continue(f"r={nonce}server,s={salt},i={iterations}".encode()))
        await reader.readexactly(5)
        proof_came.set()

    async with served(script) as address:
        opening = asyncio.ensure_future(open_link(target(address), parameters={}))
        while not proof_came.is_set():
            await asyncio.sleep(0)
            turns += 1
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert turns > 100


async def test_a_cancelled_open_leaves_no_socket_at_any_step(loop_kind: str) -> None:
    """`served` ends only when our end of every connection is closed."""
    for script in (silent, saying(AUTHENTICATION_OK), saying(GREETING)):
        for turns in range(15):
            async with served(script) as address:
                opening = asyncio.ensure_future(open_link(target(address), parameters={}))
                for _ in range(turns):
                    await asyncio.sleep(0)
                opening.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    (await opening).transport.abort()


@pytest.mark.parametrize("name", ["user", "database", "replication"])
async def test_what_the_target_says_is_no_parameter(name: str) -> None:
    address = Address(endpoint=Endpoint(host="127.0.0.1"), family=socket.AF_INET, sockaddr=("127.0.0.1", 1))
    with pytest.raises(ValueError, match=name):
        await open_link(target(address), parameters={name: "x"})


# cancel


def link_to(address: Address) -> Link:
    return Link(
        target=target(address),
        address=address,
        transport=asyncio.Transport(),
        tls=False,
        parameters={},
        backend_pid=7,
        cancel_key=b"k" * 32,
        protocol_minor=2,
    )


async def test_k2_a_cancel_is_over_when_the_server_has_closed(loop_kind: str) -> None:
    taken: asyncio.Future[CancelRequest] = asyncio.get_running_loop().create_future()
    sent = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packet = parse_packet(await startup(reader))
        assert isinstance(packet, CancelRequest)
        taken.set_result(packet)
        await sent.wait()
        writer.close()

    async with served(script) as address:
        cancelling = asyncio.ensure_future(send_cancel(link_to(address), timeout=20))
        assert await taken == CancelRequest(7, b"k" * 32)
        assert not cancelling.done()
        sent.set()
        await cancelling


async def test_k7_a_cancel_that_nobody_takes_ends_in_time_and_leaves_no_socket(loop_kind: str) -> None:
    async with served(silent) as address:
        with pytest.raises(UpstreamUnavailable, match="did not take a cancel request in time"):
            await send_cancel(link_to(address), timeout=0.05)


async def test_k7_a_cancelled_cancel_leaves_no_socket_at_any_step(loop_kind: str) -> None:
    for turns in range(10):
        async with served(silent) as address:
            cancelling = asyncio.ensure_future(send_cancel(link_to(address)))
            for _ in range(turns):
                await asyncio.sleep(0)
            cancelling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelling


async def test_a_cancel_to_a_server_that_is_gone_is_an_error(loop_kind: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = Address(endpoint=Endpoint(host="127.0.0.1"), family=socket.AF_INET, sockaddr=taken.getsockname())
        with pytest.raises(UpstreamUnavailable, match="could not connect"):
            await send_cancel(link_to(address))
