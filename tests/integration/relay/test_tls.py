"""TLS for clients, as libpq, asyncpg and psql ask for it, and as those ask who mean no good."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import psycopg
import pytest

from poolguard.daemon.doors import make_door
from poolguard.ledger.entries import Phase
from poolguard.settings.model import Auth, AuthMethod, ClientCert, ClientsListener, ClientsTls, TlsVersion, User
from poolguard.wire import startup
from tests.integration.relay.raw import SYNC, Raw, query, run, sqlstates, tags
from tests.support.certificates import Authority
from tests.support.cluster import Database
from tests.support.eventually import eventually_async
from tests.support.running import MODES, TRANSACTION, Running, running

PASSWORD = "s3cret=,n"
SCRAM = Auth(method=AuthMethod.SCRAM, users={"app": User(password=PASSWORD)})
CERT = Auth(method=AuthMethod.CERT)


@dataclass(frozen=True, slots=True)
class Files:
    """An authority, what poolguard shows, and what clients show."""

    folder: Path
    authority: Authority
    ca: str
    other_ca: str
    cert: str
    key: str

    def tls(self, **more: object) -> ClientsTls:
        """The settings."""
        return replace(ClientsTls(cert_file=self.cert, key_file=self.key), **more)  # type: ignore[arg-type]

    def of_client(self, name: str, *, authority: Authority | None = None) -> dict[str, str]:
        """libpq's keywords for a client's certificate."""
        cert, key = (authority or self.authority).issue(name).write(self.folder, f"client-{name}")
        return {"sslcert": cert, "sslkey": key}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority, other = Authority(), Authority("another authority")
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    (tmp_path / "other.crt").write_bytes(other.certificate)
    cert, key = authority.issue("poolguard", hosts=["localhost", "127.0.0.1"]).write(tmp_path, "server")
    return Files(tmp_path, authority, str(tmp_path / "ca.crt"), str(tmp_path / "other.crt"), cert, key)


@pytest.fixture(autouse=True)
def no_files_of_the_person_who_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def secured(database: Database, tls: ClientsTls, auth: Auth | None = None) -> AbstractAsyncContextManager[Running]:
    return running(database, clients=ClientsListener(port=0, tls=tls), auth=auth)


@asynccontextmanager
async def client(relay: Running, pool: str = TRANSACTION, **more: str) -> AsyncIterator[psycopg.AsyncConnection]:
    wanted = {"host": "localhost", "hostaddr": "127.0.0.1", "sslmode": "require", **more}
    async with await psycopg.AsyncConnection.connect(relay.dsn(pool, **wanted), autocommit=True) as connection:
        yield connection


async def refusal(relay: Running, **more: str) -> str:
    with pytest.raises(psycopg.OperationalError) as refused:
        async with client(relay, **more):
            pass
    return str(refused.value)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
async def test_libpq_comes_in_negotiated_and_direct(
    mode: str, negotiation: str, database: Database, files: Files, loop_kind: str
) -> None:
    """S4: with a certificate that it has checked to the host's name; and work gets done, small and large."""
    async with secured(database, files.tls()) as relay:
        async with client(
            relay, mode, sslnegotiation=negotiation, sslmode="verify-full", sslrootcert=files.ca
        ) as connection:
            assert connection.pgconn.ssl_in_use
            for size in (1, 8_000, 20_000, 3_000_000):
                cursor = await connection.execute("select repeat('x', %s), %s", [size, "y" * size])
                assert await cursor.fetchone() == ("x" * size, "y" * size)
            async with connection.cursor().copy("copy (select g from generate_series(1, 50000) g) to stdout") as copy:
                assert len([row async for row in copy.rows()]) == 50000
        await relay.at_rest(sessions=0)


@pytest.mark.parametrize(
    ("mode", "tls"), [("disable", False), ("allow", False), ("prefer", True), ("require", True), ("verify-ca", True)]
)
async def test_every_sslmode_means_what_it_means_to_postgresql(
    mode: str, tls: bool, database: Database, files: Files
) -> None:
    roots = {"sslrootcert": files.ca} if mode == "verify-ca" else {}
    async with secured(database, files.tls()) as relay, client(relay, sslmode=mode, **roots) as connection:
        assert connection.pgconn.ssl_in_use is tls


async def test_a_certificate_of_another_authority_or_name_is_not_believed(database: Database, files: Files) -> None:
    async with secured(database, files.tls()) as relay:
        assert "certificate verify failed" in await refusal(relay, sslmode="verify-ca", sslrootcert=files.other_ca)
        text = await refusal(relay, host="other.example", sslmode="verify-full", sslrootcert=files.ca)
        assert "other.example" in text
        await relay.at_rest(sessions=0)
        assert relay.relay.counters.clients_refused_total["tls"] >= 1


async def test_asyncpg_and_psql_come_in(database: Database, files: Files) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(files.ca)
    context.set_alpn_protocols(["postgresql"])
    async with secured(database, files.tls(), SCRAM) as relay:
        for direct in (False, True):
            connection = await asyncpg.connect(
                host="localhost", port=relay.port, user="app", password=PASSWORD, database="x", ssl=context,
                direct_tls=direct,
            )  # fmt: skip
            assert await connection.fetchval("select $1::int", 5) == 5
            await connection.close()
        dsn = relay.dsn(host="localhost", user="app", password=PASSWORD, sslmode="verify-full", sslrootcert=files.ca)
        shown = await asyncio.to_thread(
            subprocess.run, ["psql", "-XAt", "-c", "\\conninfo", "-c", "select 1", dsn], capture_output=True, check=True
        )
        assert b"TLSv1.3" in shown.stdout
        assert shown.stdout.endswith(b"1\n")


# Hostile peers.


async def raw_tls(port: int, *, alpn: str | None, ask: bool) -> Raw:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    raw = await Raw.dial(port)
    if ask:
        raw.send(startup.ssl_request())
        assert await raw.reader.readexactly(1) == b"S"
    await raw.writer.start_tls(context)
    return raw


@pytest.mark.parametrize("alpn", [None, "http/1.1"])
async def test_direct_tls_for_another_protocol_is_refused(alpn: str | None, database: Database, files: Files) -> None:
    """S4: without a word, and nothing that it sends is looked at. Negotiated, no name is needed."""
    async with secured(database, files.tls()) as relay:
        raw = await raw_tls(relay.port, alpn=alpn, ask=False)
        raw.send(startup.startup_packet({"user": "postgres"}))
        assert await raw.until_closed() == []
        await raw.end()
        assert relay.relay.counters.clients_refused_total["tls"] == 1
        raw = await raw_tls(relay.port, alpn=alpn, ask=True)
        assert (await raw.log_in({"user": "postgres"}))[-1].tag == "Z"
        await raw.end()
        await relay.at_rest(sessions=0)


@pytest.mark.parametrize(
    "request_packet", [startup.ssl_request(), (8).to_bytes(4, "big") + (80877104).to_bytes(4, "big")]
)
@pytest.mark.parametrize("tls", [True, False])
async def test_bytes_behind_a_request_for_encryption_are_refused(
    request_packet: bytes, tls: bool, database: Database, files: Files
) -> None:
    """S3: they came in the clear, so anybody may have put them there."""
    async with running(database, clients=ClientsListener(port=0, tls=files.tls() if tls else None)) as relay:
        raw = await Raw.dial(relay.port)
        raw.send(request_packet + startup.startup_packet({"user": "postgres"}))
        (told,) = await raw.until_closed()
        assert (told.fields["S"], told.sqlstate) == ("FATAL", "08P01")
        await raw.end()
        await relay.at_rest(sessions=0)


async def test_tls_is_not_asked_for_twice(database: Database, files: Files) -> None:
    async with secured(database, files.tls()) as relay:
        for ask in (True, False):
            raw = await raw_tls(relay.port, alpn="postgresql", ask=ask)
            raw.send(startup.ssl_request())
            (told,) = await raw.until_closed()
            assert told.sqlstate == "08P01"
            await raw.end()


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16" + b"\xff" * 600, b"\0" * 100]
)
async def test_a_broken_handshake_ends_that_connection_only(
    said: bytes, direct: bool, database: Database, files: Files
) -> None:
    """S4, S7: a half one, one of nonsense, and one of plain text where TLS was agreed."""
    async with secured(database, files.tls()) as relay:
        raw = await Raw.dial(relay.port)
        if not direct:
            raw.send(startup.ssl_request())
            assert await raw.reader.readexactly(1) == b"S"
        raw.send(said)
        raw.writer.write_eof()
        async with asyncio.timeout(10):
            answer = await raw.reader.read()
        assert b"postgres" not in answer
        await raw.end()
        await relay.at_rest(sessions=0)
        async with client(relay) as connection:
            await connection.execute("select 1")


async def test_an_older_tls_is_refused(database: Database, files: Files) -> None:
    async with secured(database, files.tls(min_version=TlsVersion.TLS_1_3)) as relay:
        assert "version" in await refusal(relay, ssl_max_protocol_version="TLSv1.2")
        async with client(relay):
            pass


# Who may come in.


async def test_where_tls_is_required_plain_logins_are_told_so(database: Database, files: Files) -> None:
    async with secured(database, files.tls(required=True)) as relay:
        raw = await Raw.dial(relay.port)
        (told,) = await raw.log_in({"user": "postgres"})
        assert (told.fields["S"], told.sqlstate) == ("FATAL", "28000")
        assert "sslmode=require" in told.fields["H"]
        await raw.end()
        async with client(relay, sslmode="prefer") as connection:
            assert connection.pgconn.ssl_in_use


async def test_a_unix_socket_has_no_tls_and_needs_none(database: Database, files: Files, tmp_path: Path) -> None:
    listener = ClientsListener(port=0, unix_socket_dir=str(tmp_path), tls=files.tls(required=True))
    async with running(database, clients=listener) as relay:
        dsn = relay.dsn(host=str(tmp_path), sslmode="require")
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            assert not connection.pgconn.ssl_in_use
            await connection.execute("select 1")


async def test_scram_is_bound_to_the_channel(database: Database, files: Files, loop_kind: str) -> None:
    """S12: -PLUS is offered with TLS, and not without."""
    async with secured(database, files.tls(), SCRAM) as relay:
        who = {"user": "app", "password": PASSWORD}
        async with client(relay, **who, channel_binding="require") as connection:
            await connection.execute("select 1")
        async with client(relay, **who, channel_binding="disable"), client(relay, **who, sslmode="disable"):
            pass
        assert "channel binding" in await refusal(relay, **who, sslmode="disable", channel_binding="require")
        assert "password authentication failed" in await refusal(relay, user="app", password="wrong")
        for raw, offered in (
            (await raw_tls(relay.port, alpn=None, ask=True), b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
            (await Raw.dial(relay.port), b"SCRAM-SHA-256\0\0"),
        ):
            raw.send(startup.startup_packet({"user": "app"}))
            asked = await raw.receive()
            assert asked is not None
            assert asked.body[4:] == offered
            await raw.end()


@pytest.mark.parametrize("asked", list(ClientCert))
async def test_a_clients_certificate_is_asked_for_as_the_settings_say(
    asked: ClientCert, database: Database, files: Files
) -> None:
    """As pg_hba.conf's clientcert: none may be needed, one of the authority's, or one with the user's name."""
    async with secured(database, files.tls(ca_file=files.ca, client_cert=asked)) as relay:
        stranger = files.of_client("postgres", authority=Authority("another authority"))
        assert "unknown ca" in (await refusal(relay, **stranger)).lower()
        async with client(relay, **files.of_client("postgres")):
            pass
        if asked is ClientCert.OPTIONAL:
            async with client(relay), client(relay, sslmode="disable"), client(relay, **files.of_client("other")):
                pass
            return
        assert "requires a valid client certificate" in await refusal(relay)
        assert "requires a valid client certificate" in await refusal(relay, sslmode="disable")
        if asked is ClientCert.VERIFY_CA:
            async with client(relay, **files.of_client("other")):
                pass
        else:
            assert 'certificate authentication failed for user "postgres"' in await refusal(
                relay, **files.of_client("other")
            )


async def test_a_certificate_in_place_of_a_password(database: Database, files: Files) -> None:
    async with secured(database, files.tls(ca_file=files.ca), CERT) as relay:
        async with client(relay, user="app", **files.of_client("app")) as connection:
            await connection.execute("select 1")
        mine = files.of_client("app")
        assert "certificate authentication failed" in await refusal(relay, user="postgres", **mine)
        assert "valid client certificate" in await refusal(relay, user="app")
        assert "valid client certificate" in await refusal(relay, user="app", sslmode="disable")
        assert relay.relay.counters.clients_refused_total["authentication"] >= 3


# What goes on in a session.


@pytest.mark.parametrize("how", ["TLS", "plain"])
@pytest.mark.parametrize("required", [True, False])
async def test_a_statement_of_a_tls_session_is_cancelled(
    how: str, required: bool, database: Database, files: Files
) -> None:
    """K4: by a request that comes through TLS, as libpq 17 sends it, and by a plain one, as older ones do."""
    async with secured(database, files.tls(required=required)) as relay:
        raw = await raw_tls(relay.port, alpn="postgresql", ask=True)
        await raw.log_in({"user": "postgres", "application_name": "victim"})
        raw.send(query("select pg_sleep(600)"))
        await relay.transaction("victim", Phase.ACTIVE)
        if how == "TLS":
            other = await raw_tls(relay.port, alpn="postgresql", ask=True)
            other.send(startup.cancel_request(raw.pid, raw.key))
            assert await other.until_closed() == []
            await other.end()
        else:
            await raw.cancel()
        assert sqlstates(await raw.until()) == ["57014"]
        assert tags(await raw.ask(query("select 1"))) == "TDC ZI"
        await raw.end()
        await relay.at_rest(sessions=0)


async def test_libpq_cancels_through_tls(database: Database, files: Files) -> None:
    """K4: PQcancelCreate demands of the cancel connection what the session's has."""
    async with (
        secured(database, files.tls(required=True)) as relay,
        client(relay, application_name="victim", sslmode="verify-full", sslrootcert=files.ca) as connection,
    ):
        running_statement = asyncio.ensure_future(connection.execute("select pg_sleep(600)"))
        await relay.transaction("victim", Phase.ACTIVE)
        await connection.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await running_statement


async def test_a_client_that_does_not_read_stops_its_server_through_tls(
    database: Database, files: Files, loop_kind: str
) -> None:
    """L4, L5: and gets all of it when it reads again."""
    async with secured(database, files.tls()) as relay:
        raw = await raw_tls(relay.port, alpn="postgresql", ask=True)
        await raw.log_in({"user": "postgres", "application_name": "slow"})
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        raw.send(query("select repeat('x', 1000000) from generate_series(1, 60)"))
        (session,) = relay.relay._sessions.values()

        def stuck() -> bool:
            assert session.congested
            assert session.server is not None
            return not session.server.transport.is_reading()

        await eventually_async(stuck)
        assert session.unread_bytes() < 2_000_000
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        got = await raw.until()
        assert sum(len(m.body) for m in got if m.tag == "D") > 60_000_000
        await raw.end()
        await relay.at_rest(sessions=0)


async def test_clients_that_vanish_leave_nothing(database: Database, files: Files, loop_kind: str) -> None:
    """L3: in the middle of a handshake, of a row, and between statements."""
    async with secured(database, files.tls()) as relay:
        for _ in range(20):
            half = await Raw.dial(relay.port)
            half.send(startup.ssl_request())
            assert await half.reader.readexactly(1) == b"S"
            half.reset()
            raw = await raw_tls(relay.port, alpn="postgresql", ask=False)
            await raw.log_in({"user": "postgres"})
            raw.send(query("select repeat('x', 1000000) from generate_series(1, 50)"))
            await raw.receive()
            raw.reset()
        await relay.at_rest(sessions=0)
        assert relay.pool().snapshot(0.0).size <= 5


# A new certificate.


async def test_a_new_certificate_is_for_new_connections(database: Database, files: Files) -> None:
    """And with it what SCRAM is bound to; those who are in go on."""
    tls = files.tls()
    async with secured(database, tls, SCRAM) as relay:
        who = {"user": "app", "password": PASSWORD, "channel_binding": "require"}
        async with client(relay, **who) as old:
            other = Authority("another authority")
            cert, key = other.issue("poolguard", hosts=["localhost"]).write(files.folder, "fresh")
            settings = replace(
                relay.relay.settings,
                listen=replace(
                    relay.relay.settings.listen,
                    clients=ClientsListener(port=0, tls=replace(tls, cert_file=cert, key_file=key)),
                ),
            )
            relay.relay.use_door(make_door(settings, seed=b"s" * 32))
            (files.folder / "new.crt").write_bytes(other.certificate)
            roots = str(files.folder / "new.crt")
            async with client(relay, **who, sslmode="verify-full", sslrootcert=roots) as fresh:
                await fresh.execute("select 1")
            await old.execute("select 1")


async def test_new_keys_in_the_middle_of_a_blocked_stream_lose_nothing(
    database: Database, files: Files, request: pytest.FixtureRequest
) -> None:
    """L5: TLS 1.3's KeyUpdate, asked for by a client that does not read: the answer waits behind what is unread."""
    async with secured(database, files.tls()) as relay:
        process = await asyncio.create_subprocess_exec(
            "openssl", "s_client", "-connect", f"127.0.0.1:{relay.port}", "-alpn", "postgresql", "-tls1_3",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        # A failure would leave it behind, and pytest waiting for it.
        request.addfinalizer(lambda: process.kill() if process.returncode is None else None)
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None
        got = bytearray()
        seen = 0

        async def until(mark: bytes) -> None:
            """Read up to the next *mark*. What was looked at is not looked at again: 30 MB come in a thousand pieces."""
            nonlocal seen
            async with asyncio.timeout(20):
                while (place := got.find(mark, seen)) < 0:
                    seen = max(seen, len(got) - len(mark) + 1)
                    read = await stdout.read(1 << 20)
                    assert read, got[-500:]
                    got.extend(read)
            seen = place + len(mark)

        await until(b"Verification error")
        stdin.write(startup.startup_packet({"user": "postgres", "application_name": "keys"}))
        await until(b"Z\0\0\0\x05I")
        # It reads no more than its pipe takes, and goes on sending. What begins with K asks for new keys, with Q quits:
        # so no simple Query.
        stdin.write(run("select repeat('x', 1000000) from generate_series(1, 30)") + SYNC)
        await stdin.drain()
        await eventually_async(lambda: len(relay.relay._around.unread), within=20)
        stdin.write(b"K\n")
        await stdin.drain()
        await until(b"Z\0\0\0\x05I")
        assert got.count(b"x" * 1_000_000) == 30
        for number in range(3):
            stdin.write(run(f"select 'after new keys, {number}'") + SYNC)
            await stdin.drain()
            await until(b"Z\0\0\0\x05I")
        assert b"after new keys, 2" in got
        stdin.close()
        _, said = await process.communicate()
        assert b"KEYUPDATE" in said
        await relay.at_rest(sessions=0)
