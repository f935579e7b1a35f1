"""New settings into a running poolguard, with clients at work all the while."""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from poolguard.demo.postgres import EmbeddedPostgres
from tests.integration.daemon.clients import leaks
from tests.integration.daemon.conftest import Run
from tests.support.cluster import Database
from tests.support.daemon import Daemon
from tests.support.eventually import eventually

WORKERS = 4


class Load:
    """Clients that run transactions as fast as they can, and remember whom they reached."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.transactions = 0
        self.servers: set[str] = set()

    def work(self, conninfo: str) -> None:
        with psycopg.connect(conninfo) as client:
            while not self.stop.is_set():
                with client.transaction():
                    row = client.execute("SELECT current_setting('port') || '/' || current_database()").fetchone()
                    client.execute("SELECT 1")
                assert row is not None
                self.servers.add(row[0])
                self.transactions += 1

    def goes_on(self) -> None:
        """Return after some more transactions."""
        before = self.transactions
        eventually(lambda: self.transactions > before + 20)


@contextmanager
def load(daemon: Daemon, pool: str = "app") -> Iterator[Load]:
    """Keep *pool* busy; at the end of the block no client must have seen an error."""
    at_work = Load()
    with ThreadPoolExecutor(WORKERS) as threads:
        clients = [threads.submit(at_work.work, daemon.conninfo(pool)) for _ in range(WORKERS)]
        try:
            at_work.goes_on()
            yield at_work
            at_work.goes_on()
        finally:
            at_work.stop.set()
    assert [client.exception() for client in clients] == [None] * WORKERS


def reloaded(daemon: Daemon, times: int = 1) -> dict[str, Any]:
    """The log line of that reload."""
    return daemon.told("settings reloaded", times=times)


def test_a_changed_file_changes_sizes_and_policies_under_load_without_an_error(
    run: Run, settings: dict[str, Any]
) -> None:
    daemon = run(settings)
    before = daemon.get("/v1/settings")["hash"]
    with load(daemon) as at_work:
        for times, size in enumerate((1, 6), start=1):
            settings["pools"]["app"]["size"] = size
            settings["policies"]["strict"] = {"idle_in_transaction": {"rollback": "300ms"}}
            settings["pools"]["jobs"]["policy"] = "strict"
            daemon.write(settings)
            told = reloaded(daemon, times)
            assert any(change.startswith("pools.app.size: ") for change in told["changes"])
            assert told["asked"] == "file changed"
            at_work.goes_on()
            eventually(lambda: daemon.pool("app")["held"] + daemon.pool("app")["idle"] <= size)  # noqa: B023 - now
        with leaks(daemon, "jobs", 1):
            eventually(lambda: daemon.get("/v1/incidents?pool=jobs&action=rollback")["total"] == 1)
    in_force = daemon.get("/v1/settings")
    assert in_force["hash"] == reloaded(daemon, 2)["settings_hash"] != before
    assert in_force["reloads"] == {"applied": 2, "unchanged": 0, "refused": 0}
    assert daemon.pool("app")["size"] == 6
    assert daemon.metric("poolguard_settings_info", hash=in_force["hash"]) == 1
    assert daemon.metric("poolguard_reloads_total", result="applied") == 2


def test_sighup_reads_the_file_again(run: Run, settings: dict[str, Any]) -> None:
    daemon = run(settings)
    daemon.signal(signal.SIGHUP)
    assert daemon.told("settings read again, nothing changed")["asked"] == "SIGHUP"
    daemon.signal(signal.SIGHUP)
    daemon.told("settings read again, nothing changed", times=2)
    assert daemon.metric("poolguard_reloads_total", result="unchanged") == 2


def test_a_bad_file_changes_nothing_and_says_so_until_a_good_one_comes(run: Run, settings: dict[str, Any]) -> None:
    daemon = run(settings)
    before = daemon.get("/v1/settings")
    with load(daemon):
        daemon.write_text("pools: {app: {size: 0, sise: 3}}\n")
        told = daemon.told("the new settings have problems; those in force stay")
        assert told["level"] == "error"
        assert len(told["problems"]) == 2
        refused = daemon.get("/v1/settings")
        assert (refused["hash"], refused["loaded_at"]) == (before["hash"], before["loaded_at"])
        assert "pools.app.sise" in refused["last_refusal"]
        assert daemon.metric("poolguard_reloads_total", result="refused") == 1
        assert daemon.metric("poolguard_settings_info", hash=before["hash"]) == 1
        assert daemon.pool("app")["size"] == settings["pools"]["app"]["size"]
        settings["pools"]["app"]["size"] = 3
        daemon.write(settings)
        reloaded(daemon)
    assert daemon.get("/v1/settings")["last_refusal"] is None
    assert daemon.pool("app")["size"] == 3


def test_a_pool_is_added_and_another_removed_while_a_third_works(run: Run, settings: dict[str, Any]) -> None:
    daemon = run(settings)
    with load(daemon), daemon.connect("jobs") as leaving, daemon.connect("jobs") as idle:
        idle.execute("SELECT 1")
        idle.commit()
        leaving.execute("CREATE TEMP TABLE unfinished (n int) ON COMMIT DROP")
        settings["pools"]["reports"] = settings["pools"].pop("jobs")
        daemon.write(settings)
        reloaded(daemon)
        assert [pool["name"] for pool in daemon.get("/v1/pools")["pools"]] == ["app", "reports"]
        with daemon.connect("reports") as client:
            client.execute("SELECT 1")
        assert daemon.pool("reports")["checkouts_total"] == 1
        with pytest.raises(errors.AdminShutdown):
            idle.execute("SELECT 1")
        leaving.execute("INSERT INTO unfinished VALUES (1)")
        leaving.commit()
        with daemon.connect("jobs") as client:
            client.execute("SELECT 1")
        assert daemon.pool("reports")["checkouts_total"] == 1, "an unknown name is for the default pool"


def test_a_leak_in_a_pool_that_was_removed_still_ends_by_its_rules(run: Run, settings: dict[str, Any]) -> None:
    settings["policies"]["strict"] = {"idle_in_transaction": {"rollback": "500ms"}}
    settings["pools"]["jobs"]["policy"] = "strict"
    daemon = run(settings)
    with leaks(daemon, "jobs", 1):
        del settings["pools"]["jobs"], settings["policies"]["strict"]
        daemon.write(settings)
        reloaded(daemon)
        eventually(lambda: daemon.get("/v1/incidents?pool=jobs&action=rollback&outcome=done")["total"] == 1)
        eventually(lambda: daemon.get("/v1/sessions")["total"] == 0)


def test_a_password_that_is_rotated_is_used_by_all_that_connect_from_then_on(
    run: Run, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Also by leases and the observer, and without a SIGHUP: a Secret that is mounted sends none."""
    secret = tmp_path / "password"
    secret.write_text("old")
    with EmbeddedPostgres(hba=("host all rotated all scram-sha-256",)) as other:
        with psycopg.connect(other.create_database("shop"), autocommit=True) as admin:
            admin.execute("CREATE ROLE rotated LOGIN PASSWORD 'old'")
            admin.execute("GRANT CREATE ON DATABASE shop TO rotated")
            url = f"postgresql://rotated@{other.host}:{other.port}/shop"
            settings["upstream"] = {"url": url, "password_file": str(secret)}
            settings["observer"] = {"interval": "1s"}
            daemon = run(settings)
            eventually(
                lambda: daemon.metric("poolguard_lease_store_up") == daemon.metric("poolguard_observer_connected") == 1
            )
            admin.execute("ALTER ROLE rotated PASSWORD 'new'")
            secret.write_text("new")
            daemon.told("settings reloaded", within=20.0)
            gone = {row[0] for row in admin.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'rotated'")}
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotated'")

            def back() -> set[str]:
                rows = admin.execute("SELECT pid, application_name FROM pg_stat_activity WHERE usename = 'rotated'")
                return {name for pid, name in rows if pid not in gone}

            eventually(lambda: {"poolguard-lease", "poolguard-observer"} <= back(), within=30.0)
            with daemon.connect("app") as client:
                assert client.execute("SELECT 1").fetchone() == (1,)
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code() == 0


def test_when_postgresql_moves_servers_are_replaced_and_no_client_sees_an_error(
    run: Run, settings: dict[str, Any], database: Database
) -> None:
    daemon = run(settings)
    with EmbeddedPostgres() as other:
        url = other.create_database("moved")
        with daemon.connect("app") as holding, load(daemon) as at_work:
            holding.execute("SELECT 1")
            assert at_work.servers == {f"{database.port}/{database.name}"}
            settings["upstream"]["url"] = url
            daemon.write(settings)
            assert "leases and the lock graph: stay on the old upstream until a restart" in reloaded(daemon)["changes"]
            at_work.goes_on()
            eventually(lambda: at_work.servers == {f"{database.port}/{database.name}", f"{other.port}/moved"})
            assert holding.execute("SELECT current_database()").fetchone() == (database.name,)
            holding.commit()
            assert holding.execute("SELECT current_database()").fetchone() == ("moved",)
            with database.connect() as direct:
                eventually(lambda: _servers_at(direct, database.name) == 0)
        daemon.signal(signal.SIGTERM)
        assert daemon.exit_code() == 0


def _servers_at(direct: psycopg.Connection[Any], database: str) -> int:
    row = direct.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'poolguard app%%'",
        [database],
    ).fetchone()
    assert row is not None
    return int(row[0])
