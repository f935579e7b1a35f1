"""Forty servers, each always in some client's transaction: what the guard's sweeps take of a core."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bench.processes import find_program
from poolguard.demo.postgres import EmbeddedPostgres
from tests.soak.verdict import Figure, Part
from tests.support.daemon import Daemon
from tests.support.eventually import eventually

SERVERS: Final = 40
MOST_PERCENT: Final = 2.0
SCRIPT: Final = """\\set id random(1, 1000)
BEGIN;
UPDATE account SET n = n + 1 WHERE id = :id;
\\sleep 20 ms
SELECT n FROM account WHERE id = :id /* route='/accounts/:id' */;
COMMIT;
"""
READERS: Final = [
    {"name": "jobs", "when": {"statement": "select .* from jobs"}, "then": {"warn": "5s"}},
    {
        "name": "route",
        "when": {"state": ["active", "idle_in_transaction"], "tags": {"route": "/x*"}},
        "then": {"warn": "5s"},
    },
    {"name": "writers", "when": {"wrote": True, "waiters": 50}, "then": {"warn": "5s"}},
]
"""Rules that ask what statements say, and how full the pool is."""
POLICIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "the default policy": {},
    "and rules that read statements": {"rules": READERS},
}
LADDERS: Final = {
    "idle_in_transaction": {"warn": "10s", "rollback": "60s", "terminate": "5m"},
    "idle_blocker": {"rollback": "10s"},
    "transaction_age": {"warn": "5m"},
    "statement_age": {"warn": "1m"},
    "checkout_age": {"warn": "10m"},
}


def run(seconds: int) -> Iterator[Part]:
    """Measure each policy for so long."""
    with EmbeddedPostgres(settings={"max_connections": "100", "max_locks_per_transaction": "64"}) as postgres:
        url = postgres.create_database("cost")
        with postgres.connect("cost") as admin:
            admin.execute("CREATE TABLE account (id int PRIMARY KEY, n int NOT NULL)")
            admin.execute("INSERT INTO account SELECT n, 0 FROM generate_series(1, 1000) AS n")
        pgbench = find_program("pgbench", postgres.binaries.folder)
        for name, policy in POLICIES.items():
            yield _measure(name, policy, url, pgbench, seconds)


def _measure(name: str, policy: Mapping[str, Any], url: str, pgbench: Path, seconds: int) -> Part:
    part = Part(f"{SERVERS} busy servers, {name}")
    settings = {
        "upstream": {"url": url},
        "pools": {"app": {"size": SERVERS, "policy": "cost"}},
        "policies": {"cost": {**LADDERS, **policy}},
        "leases": {"enabled": False},
    }
    daemon = Daemon(settings)
    try:
        daemon.start()
        daemon.wait_until_it_runs()
        script = daemon.folder / "script.sql"
        script.write_text(SCRIPT)
        command = [str(pgbench), "--no-vacuum", f"--file={script}", f"--client={SERVERS}", "--jobs=2"]
        command += [
            f"--time={seconds + 60}",
            "--host=127.0.0.1",
            f"--port={daemon.clients_port}",
            "--username=postgres",
        ]
        clients = subprocess.Popen([*command, "app"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: daemon.pool("app")["held"] > SERVERS * 0.8, within=20)
            _watch(part, daemon, seconds)
            if clients.poll() is not None:
                part.broken.append("pgbench ended too early: the figures say nothing")
        finally:
            clients.kill()
            clients.wait()
    finally:
        daemon.close()
    return part


def _watch(part: Part, daemon: Daemon, seconds: int) -> None:
    before, held = _reading(daemon), [0]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        held.append(daemon.pool("app")["held"])
        time.sleep(0.5)
    after = _reading(daemon)
    passed, cpu, sweeps, swept, checkouts = (late - early for late, early in zip(after, before, strict=True))
    part.figures += [
        Figure("the guard's share of a core", 100 * swept / passed, "%", most=MOST_PERCENT),
        Figure("one sweep", 1e6 * swept / sweeps, "us"),
        Figure("sweeps a second", sweeps / passed, least=8.0),
        Figure("poolguard's share of a core", 100 * cpu / passed, "%"),
        Figure("transactions a second", checkouts / passed),
        Figure("servers held, on average", sum(held[1:]) / len(held[1:]), least=SERVERS * 0.8),
    ]
    part.notes.append("by the clock on the wall: on a machine that does something else too, the shares look larger")


def _reading(daemon: Daemon) -> tuple[float, ...]:
    user, system = (
        int(field) for field in Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    )
    sweeps = "poolguard_guard_sweep_seconds"
    return (
        time.monotonic(),
        (user + system) / os.sysconf("SC_CLK_TCK"),
        daemon.metric(f"{sweeps}_count"),
        daemon.metric(f"{sweeps}_sum"),
        float(daemon.pool("app")["checkouts_total"]),
    )
