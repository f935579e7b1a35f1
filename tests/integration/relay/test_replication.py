"""Replication connections: they pass by the pools, each on a server of its own."""

import asyncio
import subprocess
from pathlib import Path

import psycopg
import pytest

from poolguard.ledger.entries import Phase
from poolguard.settings.model import Auth, AuthMethod, Limits, User
from tests.integration.relay.raw import COPY_DONE, Raw, copy_data, query, rows
from tests.support.cluster import Database, Server
from tests.support.eventually import eventually_async
from tests.support.running import TRANSACTION, Running, running


async def replicating(relay: Running, kind: str, **more: str) -> Raw:
    raw = await Raw.dial(relay.port)
    told = await raw.log_in(
        {"user": "postgres", "database": TRANSACTION, "replication": kind, "application_name": "walsender", **more}
    )
    assert told[-1].tag == "Z", told
    return raw


@pytest.mark.parametrize("kind", ["true", "database", "1", "on"])
async def test_a_walsender_is_reached_beside_the_pools(kind: str, relay: Running) -> None:
    """F2."""
    raw = await replicating(relay, kind)
    ((system, *_),) = rows(await raw.ask(query("IDENTIFY_SYSTEM")))
    assert system is not None
    assert int(system) > 0
    pool = relay.pool().snapshot(0.0)
    assert (pool.held, pool.checkouts_total) == (0, 0)
    facts = relay.session("walsender")
    assert (facts.phase, facts.pin) == (Phase.PINNED, "replication")
    await raw.end()
    await relay.at_rest(sessions=0)


async def test_wal_streams_both_ways(relay: Running, database: Database, loop_kind: str) -> None:
    """C8, F2: CopyBoth; the client answers while it is sent, and both end it."""
    raw = await replicating(relay, "true")
    ((_, _, position, _),) = rows(await raw.ask(query("IDENTIFY_SYSTEM")))
    raw.send(query(f"START_REPLICATION {position}"))
    assert [m.tag for m in await raw.until("W")] == ["W"]
    with database.connect() as direct:
        direct.execute("create table t (a text)")
        direct.execute("insert into t select repeat('x', 1000) from generate_series(1, 20000)")
    streamed = 0
    while streamed < 20_000_000:
        received = await raw.receive()
        assert received is not None
        assert received.tag == "d"
        streamed += len(received.body)
        raw.send(copy_data(b"r" + b"\0" * 33))
    raw.send(COPY_DONE)
    ended = await raw.until("Z")
    assert ended[-1].tag == "Z"
    assert "c" in {m.tag for m in ended}
    await raw.end()
    await relay.at_rest(sessions=0)


async def test_pg_basebackup_works(relay: Running, pg: Server, tmp_path: Path) -> None:
    """F2: a real program; it needs two connections at once, and says who it is with a password."""
    target = tmp_path / "backup"
    done = await asyncio.to_thread(
        subprocess.run,
        [pg.program("pg_basebackup"), "-d", relay.dsn(), "-D", str(target), "-X", "stream", "-c", "fast", "--no-sync"],
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (target / "PG_VERSION").exists()
    await relay.at_rest(sessions=0)


async def test_passwords_count(database: Database) -> None:
    auth = Auth(method=AuthMethod.SCRAM, users={"app": User(password="right")})
    async with running(database, auth=auth) as relay:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            await psycopg.AsyncConnection.connect(relay.dsn(user="app", password="wrong", replication="true"))
        raw = await asyncio.to_thread(
            subprocess.run,
            ["psql", "-XAt", "-c", "IDENTIFY_SYSTEM", relay.dsn(user="app", password="right", replication="database")],
            capture_output=True,
            check=True,
        )
        assert raw.stdout.count(b"|") == 3


async def test_a_cancel_reaches_its_server(relay: Running, database: Database) -> None:
    """K4: its key is poolguard's own, as everybody's."""
    raw = await replicating(relay, "database")
    await raw.cancel(b"\0" * len(raw.key))
    backend = await backend_of(raw)
    raw.send(query("select pg_sleep(600)"))
    with database.connect() as direct:
        active = "select count(*) from pg_stat_activity where pid = %s and wait_event = 'PgSleep'"
        await eventually_async(lambda: direct.execute(active, [backend]).fetchone() == (1,))
    await raw.cancel()
    assert [m.sqlstate for m in await raw.until() if m.tag == "E"] == ["57014"]
    await raw.end()


async def backend_of(raw: Raw) -> int:
    ((backend,),) = rows(await raw.ask(query("select pg_backend_pid()")))
    return int(backend or 0)


@pytest.mark.parametrize("limit", [0, 1])
async def test_there_are_at_most_so_many(limit: int, database: Database) -> None:
    """F2: with a limit of 0, none: told plainly."""
    async with running(database, limits=Limits(max_replication=limit)) as relay:
        first = await replicating(relay, "true") if limit else None
        raw = await Raw.dial(relay.port)
        (told,) = await raw.log_in({"user": "postgres", "replication": "true"})
        assert (told.fields["S"], told.sqlstate) == ("FATAL", "53300" if limit else "0A000")
        assert "limits.max_replication" in told.fields["M"]
        await raw.end()
        if first is not None:
            await first.end()
            await relay.at_rest(sessions=0)
            await (await replicating(relay, "true")).end()


async def test_what_postgresql_refuses_is_told_in_its_words(relay: Running) -> None:
    """S13."""
    raw = await Raw.dial(relay.port)
    (told,) = await raw.log_in({"user": "postgres", "replication": "true", "no_such_parameter": "1"})
    assert told.sqlstate == "42704"
    await raw.end()
    await relay.at_rest(sessions=0)


@pytest.mark.parametrize("kind", ["false", "off", "no", "0"])
async def test_replication_off_is_an_ordinary_session(kind: str, relay: Running) -> None:
    """S9."""
    raw = await Raw.dial(relay.port)
    await raw.log_in({"user": "postgres", "database": TRANSACTION, "replication": kind})
    assert rows(await raw.ask(query("select 1"))) == [("1",)]
    await raw.end()


async def test_when_one_end_goes_so_does_the_other(relay: Running, database: Database) -> None:
    """L3: a client's reset frees the backend; the backend's end ends the client."""
    raw = await replicating(relay, "database")
    backend = await backend_of(raw)
    with database.connect() as direct:
        direct.execute("select pg_terminate_backend(%s)", [backend])
        got = await raw.until_closed()
        assert [m.sqlstate for m in got if m.tag == "E"] == ["57P01"]
        await raw.end()
        await relay.at_rest(sessions=0)
        other = await replicating(relay, "database")
        backend = await backend_of(other)
        other.reset()
        alive = "select count(*) from pg_stat_activity where pid = %s"
        await eventually_async(lambda: direct.execute(alive, [backend]).fetchone() == (0,))
    await relay.at_rest(sessions=0)


async def test_draining_ends_a_stream(relay: Running) -> None:
    raw = await replicating(relay, "true")
    await relay.relay.drain(relay.relay.clock.monotonic() + 5.0)
    assert await raw.until_closed() == []
    await raw.end()
    assert not relay.ledger.sessions
