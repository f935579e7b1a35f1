"""Who may log in, through the real process."""

from typing import Any

import asyncpg
import psycopg
import pytest

from poolguard.wire.scram import ScramSecret
from tests.integration.daemon.conftest import Run
from tests.support.daemon import Daemon, written_secret


@pytest.fixture
def daemon(run: Run, settings: dict[str, Any]) -> Daemon:
    stored = ScramSecret.from_password("stored pencil", salt=b"0123456789abcdef")
    settings["auth"] = {
        "method": "scram-sha-256",
        "users": {"postgres": {"password": "pencil"}, "stored": {"password": written_secret(stored)}},
    }
    return run(settings)


def test_scram_lets_in_who_knows_the_password(daemon: Daemon) -> None:
    for user, password in (("postgres", "pencil"), ("stored", "stored pencil")):
        with daemon.connect("app", user=user, password=password, require_auth="scram-sha-256") as client:
            assert client.execute("SELECT 1").fetchone() == (1,)


async def test_scram_lets_asyncpg_in(daemon: Daemon) -> None:
    client = await asyncpg.connect(
        host="127.0.0.1", port=daemon.clients_port, user="postgres", password="pencil", database="app"
    )
    try:
        assert await client.fetchval("SELECT 1") == 1
    finally:
        await client.close()


def test_scram_refuses_all_others_and_tells_none_why(daemon: Daemon) -> None:
    for user, password in (("postgres", "wrong"), ("nobody", "pencil"), ("stored", "pencil")):
        with pytest.raises(psycopg.OperationalError, match=f'password authentication failed for user "{user}"'):
            daemon.connect("app", user=user, password=password)
    assert daemon.metric("poolguard_clients_refused_total", reason="authentication") == 3
    assert daemon.get("/v1/sessions")["total"] == 0


def test_a_reload_changes_who_may_log_in_and_ends_nobodys_session(run: Run, settings: dict[str, Any]) -> None:
    settings["auth"] = {"method": "scram-sha-256", "users": {"postgres": {"password": "old"}}}
    daemon = run(settings)
    with daemon.connect("app", password="old") as client:
        settings["auth"]["users"]["postgres"]["password"] = "new"
        daemon.write(settings)
        daemon.told("settings reloaded")
        assert client.execute("SELECT 1").fetchone() == (1,)
        with daemon.connect("app", password="new") as another:
            assert another.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            daemon.connect("app", password="old")
    for secret in ('"old"', '"new"'):
        assert secret not in daemon.log_text()


def test_no_secret_reaches_log_or_settings_page(daemon: Daemon) -> None:
    shown = daemon.log_text() + daemon.ask("GET", "/v1/settings").text + daemon.probe("/metrics").text
    for secret in ("pencil", "SCRAM-SHA-256$"):
        assert secret not in shown
