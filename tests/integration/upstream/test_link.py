"""Logging in to a real PostgreSQL, in every way that it offers, on both loops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import psycopg
import pytest

from poolguard.core.errors import ServerViolation, UpstreamRefused, UpstreamUnavailable
from poolguard.demo.postgres import EmbeddedPostgres
from poolguard.upstream.link import Link, open_link, send_cancel
from poolguard.upstream.target import Target
from poolguard.wire.framing import FrameSplitter
from poolguard.wire.messages import TERMINATE, error_fields, query
from tests.integration.upstream.conftest import Servers


class Reader(asyncio.Protocol):
    """What a link's new owner does with it: run a statement, give all messages up to ReadyForQuery."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._splitter = FrameSplitter(max_body=1 << 20)
        self._frames: list[tuple[str, bytes]] = []
        self._ready: asyncio.Future[list[tuple[str, bytes]]] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        link.transport.set_protocol(self)
        link.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        for tag, body in self._splitter.feed(data):
            self._frames.append((chr(tag), body))
            if tag == ord("Z"):
                self._ready.set_result(self._frames)
                self._frames = []

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)

    def start(self, sql: str) -> Awaitable[list[tuple[str, bytes]]]:
        self._ready = asyncio.get_running_loop().create_future()
        self._link.transport.write(query(sql))
        return self._ready

    async def value(self, sql: str) -> str:
        """The first column of the only row."""
        (row,) = [body for tag, body in await self.start(sql) if tag == "D"]
        length = int.from_bytes(row[2:6], "big", signed=True)
        return row[6 : 6 + length].decode()


@asynccontextmanager
async def linked(target: Target, **parameters: str) -> AsyncIterator[tuple[Link, Reader]]:
    link = await open_link(target, parameters=parameters)
    reader = Reader(link)
    try:
        yield link, reader
    finally:
        link.transport.write(TERMINATE)
        link.transport.close()
        await reader.ended


@pytest.mark.parametrize("user", ["trust_user", "password_user", "md5_user", "scram_user"])
async def test_every_way_to_log_in(servers: Servers, loop_kind: str, user: str) -> None:
    for postgres in (servers.plain, servers.tls):
        async with linked(servers.target(postgres, user)) as (link, reader):
            assert await reader.value("SELECT current_user") == user
            assert await reader.value("SELECT pg_backend_pid()") == str(link.backend_pid)
            assert len(link.cancel_key) >= 4
            assert link.parameters["server_encoding"] == "UTF8"


@pytest.mark.parametrize("user", ["password_user", "md5_user", "scram_user"])
async def test_s13_a_wrong_password_passes_through(servers: Servers, loop_kind: str, user: str) -> None:
    with pytest.raises(UpstreamRefused, match=f'password authentication failed for user "{user}"') as refused:
        await open_link(servers.target(servers.tls, user, password="wrong"), parameters={})
    assert refused.value.sqlstate == "28P01"


async def test_s13_an_unknown_database_passes_through(servers: Servers, loop_kind: str) -> None:
    with pytest.raises(UpstreamRefused, match='database "nowhere" does not exist') as refused:
        await open_link(servers.target(servers.tls, "trust_user", dbname="nowhere"), parameters={})
    assert refused.value.sqlstate == "3D000"


async def test_no_password_is_a_clear_error(servers: Servers) -> None:
    with pytest.raises(UpstreamUnavailable, match="none is known"):
        await open_link(servers.target(servers.tls, password=""), parameters={})


async def test_startup_parameters_are_the_callers_before_the_targets(servers: Servers) -> None:
    target = servers.target(
        servers.plain, application_name="of the target", options=r"-c work_mem=1MB -c search_path=a,\\ b"
    )
    async with linked(target, application_name="of the pool", DateStyle="German") as (link, reader):
        assert link.parameters["application_name"] == "of the pool"
        assert link.parameters["DateStyle"].startswith("German")
        assert await reader.value("SHOW work_mem") == "1MB"
        assert await reader.value("SHOW search_path") == "a, b"


async def test_an_unknown_startup_parameter_is_refused_by_postgresql(servers: Servers) -> None:
    with pytest.raises(UpstreamRefused, match="unrecognized configuration parameter") as refused:
        await open_link(servers.target(servers.plain), parameters={"no_such_thing": "1"})
    assert refused.value.sqlstate == "42704"


async def test_s5_a_server_may_choose_the_older_protocol(servers: Servers) -> None:
    async with linked(servers.target(servers.plain, max_protocol_version="latest")) as (link, reader):
        version = int(await reader.value("SHOW server_version_num"))
        assert link.protocol_minor == (2 if version >= 180000 else 0)
        assert (len(link.cancel_key) > 4) is (version >= 180000)


# sslmode


@pytest.mark.parametrize(
    ("mode", "on_tls", "on_plain"),
    [
        ("disable", False, False),
        ("allow", False, False),
        ("prefer", True, False),
        ("require", True, None),
        ("verify-ca", True, None),
        ("verify-full", True, None),
    ],
)
async def test_sslmode_means_what_it_means_to_libpq(
    servers: Servers, loop_kind: str, mode: str, on_tls: bool, on_plain: bool | None
) -> None:
    files = {"sslrootcert": servers.authority} if mode.startswith("verify") else {}
    async with linked(servers.target(servers.tls, host="localhost", sslmode=mode, **files)) as (link, reader):
        spoken = await reader.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert (link.tls, spoken) == (on_tls, "t" if on_tls else "f")
    target = servers.target(servers.plain, host="localhost", sslmode=mode, **files)
    if on_plain is None:
        with pytest.raises(UpstreamUnavailable, match="does not offer TLS"):
            await open_link(target, parameters={})
    else:
        async with linked(target) as (link, _):
            assert link.tls is on_plain


@pytest.mark.parametrize(
    ("user", "mode", "tls"),
    [
        ("tls_user", "allow", True),
        ("tls_user", "prefer", True),
        ("plain_user", "allow", False),
        ("plain_user", "prefer", False),
        ("tls_user", "disable", None),
        ("plain_user", "require", None),
    ],
)
async def test_a_refusal_by_pg_hba_is_tried_again_the_other_way(
    servers: Servers, loop_kind: str, user: str, mode: str, tls: bool | None
) -> None:
    target = servers.target(servers.tls, user, sslmode=mode)
    if tls is None:
        with pytest.raises(UpstreamRefused, match=r"pg_hba\.conf") as refused:
            await open_link(target, parameters={})
        assert refused.value.sqlstate == "28000"
    else:
        async with linked(target) as (link, _):
            assert link.tls is tls


async def test_what_postgresql_said_first_is_told_when_the_other_way_is_closed(servers: Servers) -> None:
    with pytest.raises(UpstreamRefused, match=r"pg_hba\.conf"):
        await open_link(servers.target(servers.plain, "tls_user", sslmode="allow"), parameters={})


async def test_verify_full_checks_the_host_name_and_verify_ca_does_not(servers: Servers, loop_kind: str) -> None:
    right = servers.target(
        servers.tls, host="db.example", hostaddr="127.0.0.1", sslmode="verify-full", sslrootcert=servers.authority
    )
    async with linked(right) as (link, _):
        assert link.tls
    wrong = {"host": "other.example", "hostaddr": "127.0.0.1", "sslrootcert": servers.authority}
    with pytest.raises(UpstreamUnavailable, match=r"other\.example"):
        await open_link(servers.target(servers.tls, sslmode="verify-full", **wrong), parameters={})
    async with linked(servers.target(servers.tls, sslmode="verify-ca", **wrong)) as (link, _):
        assert link.tls


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_certificate_of_another_authority_is_refused(servers: Servers, loop_kind: str, mode: str) -> None:
    target = servers.target(servers.tls, host="localhost", sslmode=mode, sslrootcert=servers.other_authority)
    with pytest.raises(UpstreamUnavailable, match="can't be trusted"):
        await open_link(target, parameters={})


async def test_a_revoked_certificate_is_refused(servers: Servers) -> None:
    trusted = {"host": "localhost", "sslmode": "verify-full", "sslrootcert": servers.authority}
    async with linked(servers.target(servers.tls, **trusted, sslcrl=servers.empty_revocations)) as (link, _):
        assert link.tls
    with pytest.raises(UpstreamUnavailable, match="revoked"):
        await open_link(servers.target(servers.tls, **trusted, sslcrl=servers.revocations), parameters={})


async def test_a_client_certificate_logs_in(servers: Servers, loop_kind: str) -> None:
    certificate, key = servers.client_certificate
    target = servers.target(servers.tls, "cert_user", sslmode="require", sslcert=certificate, sslkey=key, password="")
    async with linked(target) as (_, reader):
        assert await reader.value("SELECT current_user") == "cert_user"
    with pytest.raises(UpstreamRefused, match="valid client certificate"):
        await open_link(servers.target(servers.tls, "cert_user", sslmode="require", password=""), parameters={})


async def test_direct_tls_since_postgresql_17(servers: Servers, loop_kind: str) -> None:
    with servers.tls.connect() as connection:
        version = connection.info.server_version
    target = servers.target(servers.tls, sslmode="require", sslnegotiation="direct", channel_binding="require")
    if version >= 170000:
        async with linked(target) as (link, _):
            assert link.tls
    else:
        with pytest.raises(UpstreamUnavailable, match="TLS with"):
            await open_link(target, parameters={})


# channel binding


async def test_channel_binding_required_and_given(servers: Servers, loop_kind: str) -> None:
    target = servers.target(servers.tls, sslmode="require", channel_binding="require")
    async with linked(target) as (link, reader):
        assert link.tls
        assert await reader.value("SELECT current_user") == "scram_user"


@pytest.mark.parametrize(
    ("user", "mode"),
    [("scram_user", "disable"), ("trust_user", "require"), ("md5_user", "require"), ("password_user", "require")],
)
async def test_channel_binding_required_and_not_given(servers: Servers, user: str, mode: str) -> None:
    with pytest.raises(UpstreamUnavailable, match="channel_binding=require"):
        await open_link(servers.target(servers.tls, user, sslmode=mode, channel_binding="require"), parameters={})


async def test_scram_without_channel_binding_over_tls(servers: Servers) -> None:
    target = servers.target(servers.tls, sslmode="require", channel_binding="disable")
    async with linked(target) as (link, _):
        assert link.tls


# places


async def test_a_unix_socket_never_speaks_tls(servers: Servers, loop_kind: str) -> None:
    target = servers.target(servers.tls, host=str(servers.tls.socket_folder), sslmode="require")
    async with linked(target) as (link, reader):
        assert await reader.value("SELECT current_user") == "scram_user"
        assert not link.tls


async def test_the_next_host_is_tried_and_the_first_that_answers_counts(servers: Servers) -> None:
    closed = servers.target(servers.plain, host="127.0.0.1,127.0.0.1", port=f"1,{servers.plain.port}")
    async with linked(closed) as (link, _):
        assert link.address.endpoint.port == servers.plain.port


async def test_a_refused_login_ends_the_search(servers: Servers) -> None:
    target = servers.target(servers.plain, host="127.0.0.1,127.0.0.1", port=f"{servers.plain.port},1", password="wrong")
    with pytest.raises(UpstreamRefused, match="password authentication failed"):
        await open_link(target, parameters={})


async def test_all_failures_are_told(servers: Servers) -> None:
    with pytest.raises(UpstreamUnavailable, match=r"127\.0\.0\.1:1.*127\.0\.0\.1:2"):
        await open_link(servers.target(servers.plain, host="127.0.0.1,127.0.0.1", port="1,2"), parameters={})


async def test_read_write_skips_a_server_that_is_read_only(servers: Servers) -> None:
    with servers.plain.connect() as connection:
        connection.execute("ALTER ROLE scram_user SET default_transaction_read_only = on")
    try:
        keywords = {"host": "127.0.0.1,127.0.0.1", "port": f"{servers.plain.port},{servers.tls.port}"}
        target = servers.target(servers.plain, target_session_attrs="read-write", **keywords)
        async with linked(target) as (link, _):
            assert link.address.endpoint.port == servers.tls.port
        target = servers.target(servers.plain, target_session_attrs="read-write")
        with pytest.raises(UpstreamUnavailable, match="target_session_attrs=read-write"):
            await open_link(target, parameters={})
    finally:
        with servers.plain.connect() as connection:
            connection.execute("ALTER ROLE scram_user RESET default_transaction_read_only")


async def test_a_target_says_the_same_to_libpq(servers: Servers) -> None:
    target = servers.target(servers.tls, host="localhost", sslmode="verify-full", sslrootcert=servers.authority)
    with psycopg.connect(target.conninfo(application_name="lease"), autocommit=True) as connection:
        row = connection.execute(
            "SELECT current_user::text, current_setting('application_name'),"
            " (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())"
        ).fetchone()
    assert row == ("scram_user", "lease", True)


# cancel


@pytest.mark.parametrize("mode", ["disable", "require"])
async def test_k2_k4_a_running_statement_is_cancelled(servers: Servers, loop_kind: str, mode: str) -> None:
    async with linked(servers.target(servers.tls, sslmode=mode)) as (link, reader):
        running = reader.start("SELECT pg_sleep(100)")
        await backend_is_in(servers.tls, link.backend_pid, "active")
        await send_cancel(link, timeout=20)
        errors = [error_fields(body) for tag, body in await running if tag == "E"]
        assert [error["C"] for error in errors] == ["57014"]
        assert await reader.value("SELECT 1") == "1"


async def test_k1_a_wrong_key_cancels_nothing(servers: Servers) -> None:
    async with linked(servers.target(servers.plain)) as (link, reader):
        key, link.cancel_key = link.cancel_key, bytes(len(link.cancel_key))
        running = reader.start("SELECT pg_sleep(100)")
        await backend_is_in(servers.plain, link.backend_pid, "active")
        await send_cancel(link, timeout=20)
        with servers.plain.connect() as connection:
            row = connection.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [link.backend_pid]).fetchone()
        assert row == ("active",)
        link.cancel_key = key
        await send_cancel(link, timeout=20)
        assert any(tag == "E" for tag, _ in await running)


async def test_k6_a_cancel_while_idle_is_ignored(servers: Servers) -> None:
    async with linked(servers.target(servers.plain)) as (link, reader):
        await send_cancel(link)
        assert await reader.value("SELECT 1") == "1"


async def test_a_link_without_a_key_can_not_be_cancelled(servers: Servers) -> None:
    async with linked(servers.target(servers.plain)) as (link, _):
        link.cancel_key = b""
        with pytest.raises(UpstreamUnavailable, match="no cancel key"):
            await send_cancel(link)


async def backend_is_in(postgres: EmbeddedPostgres, pid: int, state: str) -> None:
    """Wait until that backend's statement runs: psycopg in a thread asks until it does."""

    def look() -> None:
        with postgres.connect() as connection:
            while connection.execute(
                "SELECT state FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'", [pid]
            ).fetchone() != (state,):
                pass

    await asyncio.wait_for(asyncio.to_thread(look), 20)


# shutdown of the server


async def test_a_server_that_stops_is_told_from_one_that_refuses(servers: Servers) -> None:
    postgres = EmbeddedPostgres()
    with postgres:
        target = servers.target(postgres, "postgres")
        postgres.stop()
        with pytest.raises(UpstreamUnavailable, match="could not connect") as failed:
            await open_link(target, parameters={})
        assert not isinstance(failed.value, UpstreamRefused | ServerViolation)
