"""How a client comes in: negotiation, parameters, and the first packets of those who mean no good."""

import asyncio

import psycopg
import pytest
from psycopg import conninfo

from poolguard.demo.postgres import EmbeddedPostgres
from poolguard.ledger.entries import Phase
from poolguard.settings.model import Limits
from poolguard.wire import startup
from tests.integration.relay.differential import SOURCE_PLACE, Masked, masked
from tests.integration.relay.raw import Raw, connected, query, rows, tags
from tests.support.cluster import Database
from tests.support.running import MODES, TRANSACTION, Running, both_modes, running

GSS_REQUEST = (8).to_bytes(4, "big") + (80877104).to_bytes(4, "big")


async def greeted(port: int, database: str, **parameters: str) -> list[Masked]:
    """What a login with *parameters* is told."""
    raw = await Raw.dial(port)
    told = masked(await raw.log_in({"user": "postgres", "database": database, **parameters}))
    await raw.end()
    return told


async def test_encryption_is_not_offered_and_the_login_goes_on(relay: Running) -> None:
    """S1, S2: SSLRequest and GSSENCRequest, in libpq's order, each get N on the same socket."""
    for asked in ([startup.ssl_request()], [GSS_REQUEST], [GSS_REQUEST, startup.ssl_request()]):
        raw = await Raw.dial(relay.port)
        for packet in asked:
            raw.send(packet)
            assert await raw.reader.readexactly(1) == b"N"
        greeting = await raw.log_in({"user": "postgres", "database": TRANSACTION})
        assert greeting[-1].tag == "Z"
        await raw.end()
    await relay.at_rest(sessions=0)


async def test_protocol_3_2_is_accepted_with_a_long_key(relay: Running) -> None:
    """S5, S6."""
    async with connected(relay.port, TRANSACTION, minor=2) as client:
        assert len(client.key) == 32
    async with connected(relay.port, TRANSACTION) as client:
        assert len(client.key) == 4


async def test_newer_protocols_and_options_are_negotiated(relay: Running) -> None:
    """S5: 3.3 and later come down to the newest that we speak; options that we don't know are listed."""
    raw = await Raw.dial(relay.port)
    greeting = await raw.log_in({"user": "postgres", "database": TRANSACTION, "_pq_.x": "1"}, minor=9999)
    negotiation = greeting[0]
    assert negotiation.tag == "v"
    assert negotiation.body == (3 << 16 | 2).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"_pq_.x\0"
    assert greeting[-1].tag == "Z"
    await raw.end()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"application_name": "an app"},
        {"application_name": ""},
        {"client_encoding": "latin1"},
        {"client_encoding": "UTF8", "DateStyle": "ISO, DMY", "TimeZone": "Asia/Tokyo"},
        {"IntervalStyle": "iso_8601", "extra_float_digits": "3"},
        {"options": "-c timezone=UTC -c statement_timeout=5s"},
        {"options": "--search-path=a,\\ b -c DateStyle=German"},
        {"options": "-cDateStyle=German --IntervalStyle=iso_8601\t-c   TimeZone=Asia/Tokyo"},
        {"options": "-c application_name=an\\ app\\\\\\ '-c\\ x=y'"},
        {"options": "-c TimeZone=Asia/Tokyo", "timezone": "UTC"},
        {"options": ""},
    ],
)
async def test_startup_parameters_are_reported_as_by_postgresql(
    mode: str, parameters: dict[str, str], database: Database
) -> None:
    """S8, S9: also that a second client with others is not told the first one's."""
    expected = await greeted(database.port, database.name, **parameters)
    plain = await greeted(database.port, database.name)
    async with running(database) as relay:
        for _ in range(2):
            assert _greeting(await greeted(relay.port, mode, **parameters)) == _greeting(expected)
            assert _greeting(await greeted(relay.port, mode)) == _greeting(plain)
        await relay.at_rest(sessions=0)


def _greeting(told: list[Masked]) -> list[Masked]:
    """Without the key, and without the name that poolguard gives to servers of clients that have none."""
    return [r for r in told if r[0] != "K" and not (r[0] == "S" and str(r[1]).startswith("b'application_name"))]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "parameters",
    [
        {"client_encoding": "no_such_encoding"},
        {"DateStyle": "nonsense"},
        {"no_such_parameter": "1"},
        {"options": "-c no_such_parameter=1"},
        {"options": "-c statement_timeout=often"},
        {"options": "-c search_path=a\\ b,c"},
        {"options": "-c search_path=x';create\\ table\\ t();--"},
        {"options": "-c statement_timeout=0;select"},
    ],
)
async def test_a_parameter_that_postgresql_refuses_is_refused_with_its_code(
    mode: str, parameters: dict[str, str], database: Database
) -> None:
    """S9, S13; and the pool's servers are as good as before."""
    (expected,) = await greeted_with_an_error(database.port, database.name, parameters)
    async with running(database) as relay:
        for _ in range(2):
            (told,) = await greeted_with_an_error(relay.port, mode, parameters)
            assert told == {key: value for key, value in expected.items() if key not in SOURCE_PLACE}
        async with connected(relay.port, mode) as client:
            assert rows(await client.ask(query("select 1"))) == [("1",)]
        await relay.at_rest(sessions=0)


async def greeted_with_an_error(port: int, database: str, parameters: dict[str, str]) -> list[dict[str, str]]:
    raw = await Raw.dial(port)
    told = await raw.log_in({"user": "postgres", "database": database, **parameters})
    await raw.end()
    return [received.fields for received in told if received.tag == "E"]


async def test_startup_parameters_hold_on_every_server(relay: Running) -> None:
    """S9: also `options`, and a value that needs quotes; a client without them has PostgreSQL's own."""
    options = '-c statement_timeout=7s -c search_path="a\'b\\ \\\\\\\\",public'
    with_options = connected(relay.port, TRANSACTION, options=options, TimeZone="Asia/Tokyo", application_name="a'\\b")
    async with with_options as client, connected(relay.port, TRANSACTION) as other:
        ask = query(
            "select current_setting('statement_timeout'), current_setting('search_path'), current_setting('TimeZone'), "
            "current_setting('application_name'), pg_backend_pid()"
        )
        pids = set()
        for _ in range(2):
            (mine,) = rows(await client.ask(ask))
            assert mine[:4] == ("7s", '"a\'b \\\\",public', "Asia/Tokyo", "a'\\b")
            (others,) = rows(await other.ask(ask))
            assert others[:3] == ("0", '"$user", public', "UTC")
            pids |= {mine[4], others[4]}
        assert len(pids) == 1, "both used the same server, one after the other"


@pytest.mark.parametrize(
    "packet",
    [
        (0).to_bytes(4, "big"),
        (7).to_bytes(4, "big"),
        (-1).to_bytes(4, "big", signed=True),
        (10_001).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big"),
        (2**31 - 1).to_bytes(4, "big"),
        (8).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big"),
        (9).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + b"x",
        (18).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + b"user\0postg",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_a_first_packet_that_makes_no_sense_is_refused(packet: bytes, relay: Running) -> None:
    """S7: told why, closed at once, and nobody else is hurt."""
    raw = await Raw.dial(relay.port)
    raw.send(packet)
    (told,) = await raw.until_closed()
    assert told.fields["S"] == "FATAL"
    assert told.sqlstate == "08P01"
    await raw.end()
    async with connected(relay.port, TRANSACTION) as client:
        assert tags(await client.ask(query("select 1"))) == "TDC ZI"
    await relay.at_rest(sessions=0)


async def test_a_login_without_a_user_or_of_another_protocol_is_refused(relay: Running) -> None:
    """S7."""
    for packet, sqlstate in (
        (startup.startup_packet({"database": TRANSACTION}), "28000"),
        ((8).to_bytes(4, "big") + (2 << 16).to_bytes(4, "big"), "0A000"),
    ):
        raw = await Raw.dial(relay.port)
        raw.send(packet)
        assert [received.sqlstate for received in await raw.until_closed()] == [sqlstate]
        await raw.end()


async def test_a_missing_database_is_the_user(relay: Running) -> None:
    """S7: and as no pool has that name, it goes to the default pool."""
    raw = await Raw.dial(relay.port)
    greeting = await raw.log_in({"user": "somebody", "application_name": "x"})
    assert greeting[-1].tag == "Z"
    assert (relay.session("x").database, relay.session("x").pool) == ("somebody", TRANSACTION)
    await raw.end()


async def test_a_half_said_login_ends_by_its_timer(database: Database) -> None:
    """S14."""
    async with running(database, limits=Limits(login_timeout=0.05)) as relay:
        raw = await Raw.dial(relay.port)
        raw.send(startup.startup_packet({"user": "postgres"})[:10])
        (told,) = await raw.until_closed()
        assert "timeout" in told.fields["M"]
        await raw.end()
        await relay.at_rest(sessions=0)


async def test_more_clients_than_max_clients_are_sent_away(database: Database) -> None:
    async with running(database, limits=Limits(max_clients=1)) as relay, connected(relay.port, TRANSACTION):
        raw = await Raw.dial(relay.port)
        raw.send(startup.startup_packet({"user": "postgres"}))
        (told,) = await raw.until_closed()
        assert told.sqlstate == "53300"
        await raw.end()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "path",
    ['"a b", "C"', '"it\'s", public', '"a""b"', "'a'", "$user", '"$user", public', "a,b ,c", "", '""', "e'\\\\x'"],
)
async def test_a_search_path_stays_as_it_was_said_at_each_hand_over(mode: str, path: str, database: Database) -> None:
    """S8: never quoted again, whoever had the server in between; refused only if PostgreSQL refuses it."""
    said = path.replace("\\", "\\\\").replace(" ", "\\ ")
    options = f"-c search_path={said}"
    direct = await Raw.dial(database.port)
    told = await direct.log_in({"user": "postgres", "database": database.name, "options": options})
    ask = query("select current_setting('search_path')")
    expected = None if told[-1].tag == "E" else rows(await direct.ask(ask))
    await direct.end()
    async with running(database, both_modes(1)) as relay:
        for _ in range(2):
            raw = await Raw.dial(relay.port)
            told = await raw.log_in({"user": "postgres", "database": mode, "options": options})
            if expected is None:
                assert told[-1].tag == "E"
            else:
                assert rows(await raw.ask(ask)) == expected
                if mode == TRANSACTION:
                    async with connected(relay.port, mode) as other:
                        assert rows(await other.ask(ask)) == [('"$user", public',)]
                assert rows(await raw.ask(ask)) == expected
            await raw.end()
        await relay.at_rest(sessions=0)


@pytest.mark.parametrize("version", ["3.0", "3.2", "latest"])
async def test_libpq_18_gets_the_protocol_that_it_asks_for(version: str, relay: Running) -> None:
    """S5, S6: with a key of its length, by which it can cancel."""
    wanted = {"max_protocol_version": version, "min_protocol_version": "3.0" if version == "latest" else version}
    async with await psycopg.AsyncConnection.connect(
        relay.dsn(application_name="victim", **wanted), autocommit=True
    ) as connection:
        assert connection.pgconn.full_protocol_version == (30000 if version == "3.0" else 30002)
        statement = asyncio.ensure_future(connection.execute("select pg_sleep(600)"))
        await relay.transaction("victim", Phase.ACTIVE)
        await connection.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await statement


async def asked_once(port: int) -> list[str]:
    """The errors of a client that asks for one statement."""
    async with connected(port, TRANSACTION) as client:
        return [m.sqlstate for m in await client.ask(query("select 1")) if m.tag == "E"]


async def test_a_changed_password_ends_no_server_and_a_wrong_one_is_not_tried_for_ever() -> None:
    """S15."""
    with EmbeddedPostgres(hba=["host all app all scram-sha-256"]) as postgres, postgres.connect() as admin:
        admin.execute("create role app login password 'old'")
        own = Database(conninfo.make_conninfo(postgres.url, user="app", password="old", dbname="postgres"))
        async with running(own, both_modes(2)) as relay:
            pool = relay.pool()
            async with connected(relay.port, TRANSACTION) as client:
                before = rows(await client.ask(query("select pg_backend_pid()")))
                admin.execute("alter role app password 'new'")
                for _ in range(3):
                    assert rows(await client.ask(query("select pg_backend_pid()"))) == before
                await client.ask(query("begin; select 1"))
                told = await asyncio.gather(*(asked_once(relay.port) for _ in range(20)))
                assert told == [["28P01"]] * 20
                assert pool.open_failures <= 3, "each client tried it anew"
                assert rows(await client.ask(query("commit; select pg_backend_pid()"))) == before
