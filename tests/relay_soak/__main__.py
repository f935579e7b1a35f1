"""`python -m tests.relay_soak`: exit code 0 if nothing went wrong, 1 if something did (it is printed), 2 usage."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import psycopg

from poolguard.demo.postgres import EmbeddedPostgres
from tests.relay_soak.marks import Told
from tests.relay_soak.trouble import Trouble
from tests.relay_soak.verdict import problems, report
from tests.support.daemon import Daemon
from tests.support.eventually import eventually

DRIVERS: Final = ("psycopg", "psycopg2", "pg8000", "asyncpg")
QUIET_SECONDS: Final = 30.0
"""How long the accounts may take to balance when all clients have gone."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.relay_soak", description="A soak of the relay, with a verdict."
    )
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--clients", type=int, default=9, help="of each driver")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of chance (default: the time)")
    options = parser.parse_args(argv)
    drivers = [name for name in DRIVERS if find_spec(name) is not None]
    print(f"drivers: {', '.join(drivers)}; seed {options.seed}", flush=True)
    with EmbeddedPostgres(settings={"max_connections": "100"}) as postgres:
        dsn = postgres.create_database("soak")
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute("create table done (id bigint, who text)")
        settings = _settings(dsn)
        daemon = Daemon(settings)
        try:
            daemon.start()
            daemon.wait_until_it_runs()
            began = time.monotonic()
            trouble = Trouble(postgres, dsn, daemon, settings, options.seed)
            told = _run(drivers, daemon, trouble, options)
            found = _ended(daemon, told, dsn)
            print(report(told, trouble.made, time.monotonic() - began, found))
            if found:
                print(f"poolguard's log: {_kept(daemon)}")
            return int(bool(found))
        finally:
            daemon.close()


def _kept(daemon: Daemon) -> Path:
    path = Path(tempfile.mkstemp(prefix="poolguard-soak-", suffix=".log")[1])
    path.write_text(daemon.log_text())
    return path


def _settings(url: str) -> dict[str, Any]:
    return {
        "upstream": {"url": url},
        "pools": {
            "app": {"size": 6, "wait_timeout": "20s", "policy": "strict", "prepared_statements": 20},
            "session": {
                "size": 12,
                "mode": "session",
                "wait_timeout": "20s",
                "policy": "strict",
                "max_lifetime": "20s",
            },
        },
        "policies": {
            "strict": {
                "idle_in_transaction": {"rollback": "500ms"},
                "budget": {"kills_per_minute": 100000, "max_share_of_pool": 1.0},
            }
        },
        "default_pool": "app",
        "leases": {"enabled": False},
    }


def _run(drivers: Sequence[str], daemon: Daemon, trouble: Trouble, options: argparse.Namespace) -> list[Told]:
    crowds = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.relay_soak.crowd", name, str(daemon.clients_port), str(options.clients),
             str(options.seconds), str(options.seed), str(1 + place * 1000)],
            stdout=subprocess.PIPE, text=True,
        )
        for place, name in enumerate(drivers)
    ]  # fmt: skip
    try:
        trouble.make(time.monotonic() + options.seconds, lambda text: print(text, flush=True))
        return [_told(name, crowd) for name, crowd in zip(drivers, crowds, strict=True)]
    finally:
        for crowd in crowds:
            crowd.kill()
            crowd.wait()


def _told(name: str, crowd: "subprocess.Popen[str]") -> Told:
    try:
        out, _ = crowd.communicate(timeout=120)
        seen = json.loads(out)
    except (subprocess.TimeoutExpired, ValueError) as error:
        return Told(name, wrong=[f"{name} never came to an end: {type(error).__name__}"])
    return Told(**{**seen, "done": Counter(seen["done"]), "excused": Counter(seen["excused"])})


def _ended(daemon: Daemon, told: Sequence[Told], dsn: str) -> list[str]:
    def look() -> list[str]:
        pools = {name: daemon.pool(name) for name in ("app", "session")}
        return problems(told, dsn, pools, len(daemon.get("/v1/sessions")["sessions"]))

    try:
        eventually(lambda: not look(), within=QUIET_SECONDS, every=0.5)
    except AssertionError:
        return look()
    return []


if __name__ == "__main__":
    sys.exit(main())
