"""Opening a socket and TLS on it, against servers that misbehave, on both loops."""

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

import pytest

from poolguard.core.errors import ServerViolation, UpstreamUnavailable
from poolguard.upstream.certificate import binding_hash
from poolguard.upstream.dial import Address, TlsFailed, addresses_of, dial
from poolguard.upstream.endpoint import Endpoint, Keepalive
from poolguard.upstream.tls import Encryption, SslMode, TlsSettings
from poolguard.wire.startup import ssl_request
from tests.support.certificates import Authority, Issued
from tests.unit.upstream.scripted import Script, served

PLAIN, TLS, OFFERED = Encryption.PLAIN, Encryption.TLS, Encryption.TLS_IF_OFFERED
REQUIRE = TlsSettings(mode=SslMode.REQUIRE)


def answering(answer: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == ssl_request()
        writer.write(answer)

    return script


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue("server", hosts=["127.0.0.1"])


@pytest.fixture
def server_context(issued: Issued, tmp_path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issued.write(tmp_path, "server"))
    return context


def upgrading(context: ssl.SSLContext) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S")
        await writer.start_tls(context)
        writer.write(await reader.readexactly(4))

    return script


async def test_plain_sends_nothing_of_its_own(loop_kind: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))

    async with served(script) as address:
        dialed = await dial(address, PLAIN, REQUIRE, Keepalive())
        dialed.conversation.transport.write(b"ping")
        assert await dialed.conversation.receive() == b"ping"
        assert (dialed.tls, dialed.certificate_hash) == (False, None)
        dialed.conversation.abort()


async def test_tls_gives_the_hash_of_the_servers_certificate(
    loop_kind: str, server_context: ssl.SSLContext, issued: Issued
) -> None:
    async with served(upgrading(server_context)) as address:
        for encryption in (TLS, OFFERED):
            dialed = await dial(address, encryption, REQUIRE, Keepalive())
            dialed.conversation.transport.write(b"ping")
            assert await dialed.conversation.receive() == b"ping"
            assert (dialed.tls, dialed.certificate_hash) == (True, binding_hash(issued.der))
            assert not dialed.conversation.transport.is_reading()
            dialed.conversation.abort()


async def test_a_server_without_tls(loop_kind: str) -> None:
    async with served(answering(b"N")) as address:
        with pytest.raises(UpstreamUnavailable, match="does not offer TLS"):
            await dial(address, TLS, REQUIRE, Keepalive())
        dialed = await dial(address, OFFERED, TlsSettings(), Keepalive())
        assert not dialed.tls
        dialed.conversation.abort()


@pytest.mark.parametrize("answer", [b"SN", b"N" + b"R\0\0\0\x08\0\0\0\0", b"S\x16\x03\x01"])
async def test_s3_bytes_behind_the_answer_are_refused(loop_kind: str, answer: bytes) -> None:
    """CVE-2021-23222."""
    async with served(answering(answer)) as address:
        for encryption in (TLS, OFFERED):
            with pytest.raises(ServerViolation, match="more than one byte"):
                await dial(address, encryption, REQUIRE, Keepalive())


async def test_an_error_before_tls_is_not_shown(loop_kind: str) -> None:
    """CVE-2024-10977."""
    async with served(answering(b"E\0\0\0\x10SFATAL\0Mlies\0\0")) as address:
        with pytest.raises(UpstreamUnavailable, match="something else than S or N") as failed:
            await dial(address, OFFERED, REQUIRE, Keepalive())
    assert "lies" not in str(failed.value)


async def test_a_server_that_hangs_up_instead_of_answering(loop_kind: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.close()

    async with served(script) as address:
        with pytest.raises(UpstreamUnavailable, match="closed the connection"):
            await dial(address, TLS, REQUIRE, Keepalive())


async def test_a_handshake_that_fails_is_told_from_other_failures(loop_kind: str) -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S")
        await reader.read(1)
        writer.write(b"this is no TLS record, not at all")

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S")
        await reader.read(1)
        writer.close()

    for script in (garbage, hang_up):
        async with served(script) as address:
            with pytest.raises(TlsFailed):
                await dial(address, TLS, REQUIRE, Keepalive())


async def test_an_untrusted_certificate_is_refused_with_its_reason(
    loop_kind: str, server_context: ssl.SSLContext, tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_bytes(Authority("another").certificate)
    settings = TlsSettings(mode=SslMode.VERIFY_FULL, rootcert=str(tmp_path / "ca.crt"))
    async with served(upgrading(server_context)) as address:
        with pytest.raises(TlsFailed, match="can't be trusted"):
            await dial(address, TLS, settings, Keepalive())


async def test_verify_full_accepts_an_address_in_the_certificate(
    loop_kind: str, server_context: ssl.SSLContext, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    settings = TlsSettings(mode=SslMode.VERIFY_FULL, rootcert=str(tmp_path / "ca.crt"))
    async with served(upgrading(server_context)) as address:
        dialed = await dial(address, TLS, settings, Keepalive())
        assert dialed.tls
        dialed.conversation.abort()


async def test_direct_tls_needs_the_protocol_agreed_on(loop_kind: str, server_context: ssl.SSLContext) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))

    direct = TlsSettings(mode=SslMode.REQUIRE, direct=True)
    async with served(script, server_context) as address:
        with pytest.raises(ServerViolation, match="ALPN"):
            await dial(address, TLS, direct, Keepalive())
    server_context.set_alpn_protocols(["postgresql"])
    async with served(script, server_context) as address:
        dialed = await dial(address, TLS, direct, Keepalive())
        dialed.conversation.transport.write(b"ping")
        assert await dialed.conversation.receive() == b"ping"
        dialed.conversation.abort()


async def test_a_cancelled_dial_leaves_no_socket_at_any_step(loop_kind: str, server_context: ssl.SSLContext) -> None:
    """`served` ends only when our end of every connection is closed."""

    async def silent_after_s(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"S")

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    for script in (silent, silent_after_s, upgrading(server_context)):
        for turns in range(12):
            async with served(script) as address:
                dialing = asyncio.ensure_future(dial(address, TLS, REQUIRE, Keepalive()))
                for _ in range(turns):
                    await asyncio.sleep(0)
                dialing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    (await dialing).conversation.abort()


async def test_nobody_listens(loop_kind: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        (address,) = await addresses_of(Endpoint(host="127.0.0.1", port=taken.getsockname()[1]))
        with pytest.raises(
            UpstreamUnavailable, match=r"could not connect to PostgreSQL at 127\.0\.0\.1:\d+: .*refused"
        ):
            await dial(address, PLAIN, REQUIRE, Keepalive())


async def test_a_unix_socket_that_is_not_there(loop_kind: str, tmp_path: Path) -> None:
    (address,) = await addresses_of(Endpoint(host=str(tmp_path)))
    with pytest.raises(UpstreamUnavailable, match="No such file"):
        await dial(address, PLAIN, REQUIRE, Keepalive())


@pytest.mark.parametrize(
    "endpoint", [Endpoint(host="", hostaddr="no-address"), Endpoint(host="x" * 64 + ".invalid"), Endpoint(host="a..b")]
)
async def test_a_name_that_leads_nowhere(loop_kind: str, endpoint: Endpoint) -> None:
    with pytest.raises(UpstreamUnavailable, match="could not look up the address"):
        await addresses_of(endpoint)


async def test_an_address_shows_what_its_name_led_to() -> None:
    endpoint = Endpoint(host="db.example", hostaddr="", port=5432)
    address = Address(endpoint=endpoint, family=socket.AF_INET, sockaddr=("10.0.0.1", 5432))
    assert str(address) == "db.example:5432 (10.0.0.1)"
    assert [str(found) for found in await addresses_of(Endpoint(host="127.0.0.1"))] == ["127.0.0.1:5432"]


async def test_keepalive_options_are_set(loop_kind: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    keepalive = Keepalive(idle_seconds=7, interval_seconds=3, count=2, user_timeout_ms=9000)
    async with served(script) as address:
        dialed = await dial(address, PLAIN, REQUIRE, keepalive)
        sock = dialed.conversation.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        wanted = {"TCP_KEEPIDLE": 7, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 2, "TCP_USER_TIMEOUT": 9000}
        there = {name: value for name, value in wanted.items() if hasattr(socket, name)}
        assert {name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in there} == there
        dialed.conversation.abort()
        off = await dial(address, PLAIN, REQUIRE, Keepalive(enabled=False))
        sock = off.conversation.transport.get_extra_info("socket")
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        off.conversation.abort()
