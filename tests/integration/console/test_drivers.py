"""The console as drivers and psql meet it, unchanged (F3)."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any, Final

import asyncpg
import psycopg
import pytest
from psycopg import errors
from psycopg.rows import dict_row

from tests.integration.daemon.clients import leaks
from tests.integration.daemon.conftest import Run, run, settings
from tests.integration.relay.test_programs import find
from tests.support.cluster import Server
from tests.support.daemon import Daemon

__all__ = ["run", "settings"]

CONSOLE: Final = "poolguard"
TOKEN: Final = "a-token-that-nobody-may-see"


@pytest.fixture
def daemon(run: Run, settings: dict[str, Any]) -> Daemon:
    return run(settings)


@pytest.fixture
def console(daemon: Daemon) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """Autocommit, simple protocol."""
    with psycopg.connect(daemon.conninfo(CONSOLE), autocommit=True, row_factory=dict_row) as client:
        yield client


def psql(pg: Server, daemon: Daemon, *commands: str, **options: str) -> "subprocess.CompletedProcess[str]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    given = [f"--command={command}" for command in commands]
    return subprocess.run(
        [
            str(find(pg, "psql")),
            "-XAtq",
            "--set=ON_ERROR_STOP=1",
            f"--dbname={daemon.conninfo(CONSOLE, **options)}",
            *given,
        ],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_psql_shows_and_kills(pg: Server, daemon: Daemon) -> None:
    """F3"""
    with leaks(daemon, "app", 1) as [leak]:
        shown = psql(pg, daemon, "show transactions", "begin", "SHOW POOLS;", "commit")
        assert shown.returncode == 0, shown.stderr
        transaction = shown.stdout.splitlines()[0].split("|")[0]
        killed = psql(pg, daemon, f"KILL '{transaction}' ROLLBACK;")
        assert killed.stdout.startswith(f"{transaction}|rollback|done|"), killed.stderr
        with pytest.raises(errors.OperatorIntervention):
            leak.client.execute("SELECT 1")
    [incident] = daemon.get("/v1/incidents?action=rollback")["incidents"]
    assert incident["actor"].startswith("console (127.0.0.1:")


def test_psql_is_told_what_there_is(pg: Server, daemon: Daemon) -> None:
    said = psql(pg, daemon, "SELECT 1")
    assert said.returncode == 1
    assert "HINT:  SHOW HELP" in said.stderr


def test_it_holds_nothing_and_is_no_session(daemon: Daemon, console: psycopg.Connection[dict[str, Any]]) -> None:
    """F3: it answers while every pool is exhausted."""
    with leaks(daemon, "app", 2), leaks(daemon, "jobs", 2):
        pools = {row["name"]: row for row in console.execute("SHOW POOLS").fetchall()}
        assert [(pools[name]["held"], pools[name]["idle"]) for name in ("app", "jobs")] == [(2, 0), (2, 0)]
        sessions = console.execute("SHOW SESSIONS").fetchall()
        assert [row["database"] for row in sessions] == ["app", "app", "jobs", "jobs"]
        assert daemon.get("/v1/sessions")["total"] == 4


@pytest.mark.parametrize("binary", [False, True])
def test_psycopg_with_transactions_and_the_extended_protocol(daemon: Daemon, binary: bool) -> None:
    """F3: BEGIN before the first statement, prepared statements, results in text and binary."""
    with psycopg.connect(daemon.conninfo(CONSOLE), row_factory=dict_row, prepare_threshold=0) as client:
        for _ in range(3):
            with client.transaction():
                rows = client.execute("SHOW POOLS", prepare=True, binary=binary).fetchall()
                assert [(row["name"], row["size"], row["oldest_wait_seconds"]) for row in rows] == [
                    ("app", 2, 0.0),
                    ("jobs", 2, 0.0),
                ]
        with pytest.raises(errors.SyntaxError):
            client.execute("SELECT 1")
        client.rollback()
        client.execute("SET search_path = 'x'")
        with pytest.raises(errors.ProtocolViolation):
            client.execute("SHOW POOLS -- %s", ["a parameter"], binary=binary)


def test_a_pipeline_is_answered_in_order(console: psycopg.Connection[dict[str, Any]]) -> None:
    with console.pipeline():
        pools = console.execute("SHOW POOLS")
        version = console.execute("SHOW VERSION")
        assert [row["name"] for row in pools.fetchall()] == ["app", "jobs"]
        [row] = version.fetchall()
        assert row["version"].startswith("poolguard ")


def test_a_cancel_request_does_nothing(console: psycopg.Connection[dict[str, Any]]) -> None:
    console.cancel_safe(timeout=10.0)
    assert console.execute("SHOW VERSION").fetchall()


@pytest.mark.parametrize(
    "topic", ["HELP", "POOLS", "SESSIONS", "TRANSACTIONS", "LOCKS", "INCIDENTS", "LEASES", "SETTINGS", "VERSION"]
)
def test_every_topic_is_shown(console: psycopg.Connection[dict[str, Any]], topic: str) -> None:
    cursor = console.execute(f"SHOW {topic}".encode())
    cursor.fetchall()
    assert cursor.description


async def test_asyncpg_simple_and_prepared(run: Run, settings: dict[str, Any]) -> None:
    """F3"""
    daemon = await asyncio.to_thread(run, settings)
    client = await asyncpg.connect(host="127.0.0.1", port=daemon.clients_port, user="postgres", database=CONSOLE)
    try:
        assert await client.execute("SHOW POOLS") == "SHOW"
        for _ in range(2):
            assert [(row["name"], row["size"]) for row in await client.fetch("SHOW POOLS")] == [("app", 2), ("jobs", 2)]
        statement = await client.prepare("SHOW POOLS")
        async with client.transaction():
            assert (await statement.fetchrow())["name"] == "app"
            assert [row["name"] async for row in client.cursor("SHOW POOLS", prefetch=1)] == ["app", "jobs"]
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await client.fetch("SELECT 1")
        with pytest.raises(asyncpg.PostgresError, match="1-99"):
            await client.execute("KILL '1-99' CANCEL")
    finally:
        await client.close()


def test_kill_needs_the_admin_token_where_one_is_set(run: Run, settings: dict[str, Any]) -> None:
    daemon = run({**settings, "auth": {"admin_token": TOKEN}})
    with leaks(daemon, "app", 1):
        with psycopg.connect(daemon.conninfo(CONSOLE), autocommit=True) as client:
            [transaction] = [row[0] for row in client.execute("SHOW TRANSACTIONS").fetchall()]
            kill = f"KILL '{transaction}' TERMINATE".encode()
            with pytest.raises(errors.InsufficientPrivilege, match="needs the admin token"):
                client.execute(kill)
        for token, outcome in (("wrong", None), (TOKEN, "done")):
            given = daemon.conninfo(CONSOLE, options=f"-c poolguard.admin_token={token}")
            with psycopg.connect(given, autocommit=True, row_factory=dict_row) as client:
                if outcome is None:
                    with pytest.raises(errors.InsufficientPrivilege, match="not the admin token"):
                        client.execute(kill)
                else:
                    [row] = client.execute(kill).fetchall()
                    assert row["outcome"] == outcome
    assert TOKEN not in daemon.log_text()


def test_who_may_not_log_in_is_not_shown_anything(run: Run, settings: dict[str, Any]) -> None:
    daemon = run({**settings, "auth": {"method": "scram-sha-256", "users": {"ops": {"password": "right"}}}})
    for user, password in (("ops", "wrong"), ("postgres", "right")):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(daemon.conninfo(CONSOLE, user=user, password=password))
    with psycopg.connect(daemon.conninfo(CONSOLE, user="ops", password="right"), autocommit=True) as client:
        assert len(client.execute("SHOW POOLS").fetchall()) == 2


def test_the_admin_token_is_not_told_postgresql(daemon: Daemon) -> None:
    with daemon.connect("app", options=f"-c poolguard.admin_token={TOKEN}") as client:
        row = client.execute("SELECT current_setting('poolguard.admin_token', true)").fetchone()
    assert row == (None,)


def test_it_ends_with_poolguard(daemon: Daemon, console: psycopg.Connection[dict[str, Any]]) -> None:
    daemon.signal(signal.SIGTERM)
    assert daemon.exit_code() == 0
    with pytest.raises(psycopg.OperationalError):
        console.execute("SHOW VERSION")
