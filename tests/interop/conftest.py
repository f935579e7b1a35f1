"""One PostgreSQL and one poolguard in front of it; each driver's program runs once per target, and is asked for its lines."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import pytest

from tests.interop.drivers import DIRECT, Driver
from tests.support.cluster import Database, Server
from tests.support.daemon import Daemon
from tests.support.running import SESSION, TRANSACTION

RUN_SECONDS: Final = 120

PATIENT: Final[Mapping[str, object]] = {"statement_age": {"warn": "10m"}}
STRICT: Final[Mapping[str, object]] = {
    "idle_in_transaction": {"rollback": "150ms"},
    "budget": {"kills_per_minute": 10_000, "max_share_of_pool": 1.0},
}
POOLS: Final[Mapping[str, object]] = {
    # Fewer servers than clients, and fewer statements on a server than the programs prepare.
    TRANSACTION: {"size": 3, "wait_timeout": "20s", "prepared_statements": 20, "policy": "patient"},
    SESSION: {"size": 20, "mode": "session", "wait_timeout": "20s", "prepared_statements": 20, "policy": "patient"},
    "election": {"size": 4, "wait_timeout": "20s", "policy": "election"},
    f"leaky_{TRANSACTION}": {"size": 3, "wait_timeout": "20s", "policy": "strict"},
    f"leaky_{SESSION}": {"size": 20, "mode": "session", "wait_timeout": "20s", "policy": "strict"},
}


class Told(NamedTuple):
    """One line of a program."""

    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a program said."""

    told: Mapping[str, Told]
    exit_code: int | None
    """None: it had to be killed."""
    error_output: str

    def of(self, scenario: str) -> Told:
        """What it said of *scenario*."""
        missing = f"nothing was told of {scenario}; exit code {self.exit_code}\n{self.error_output}"
        return self.told.get(scenario, Told(False, missing))


@dataclass(slots=True)
class House:
    """Where the programs connect to; runs each once per target."""

    database: Database
    daemon: Daemon
    reports: dict[tuple[str, str], Report] = field(default_factory=dict)

    def report(self, driver: Driver, target: str) -> Report:
        """Run the driver's program against *target*, unless that was done already."""
        command = driver.toolchain.command(driver.program)
        if (driver.name, target) not in self.reports:
            self.reports[driver.name, target] = self._run(list(command), target)
        return self.reports[driver.name, target]

    def _run(self, command: list[str], target: str) -> Report:
        self._prepare()
        through = f"postgresql://postgres@127.0.0.1:{self.daemon.clients_port}/"
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "INTEROP_"))}
        environ["INTEROP_ADMIN"] = self.database.url
        if target == DIRECT:
            environ["INTEROP_TARGET"] = self.database.url
        else:
            environ["INTEROP_TARGET"] = through + target
            environ["INTEROP_LEAKY"] = f"{through}leaky_{target}"
            environ["INTEROP_ELECTION"] = f"{through}election"
        try:
            done = subprocess.run(
                command, env=environ, capture_output=True, text=True, timeout=RUN_SECONDS, stdin=subprocess.DEVNULL
            )
            code, out, error = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            code, out, error = None, _text(late.stdout), _text(late.stderr)
        lines: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        told = {line["scenario"]: Told(line["ok"], line["detail"]) for line in lines}
        return Report(told, code, error[-10_000:])

    def _prepare(self) -> None:
        """An empty schema, with the one table that all programs know."""
        with self.database.connect() as admin:
            admin.execute("SET client_min_messages = error")
            admin.execute("DROP SCHEMA IF EXISTS public CASCADE")
            admin.execute("CREATE SCHEMA public")
            admin.execute("CREATE TABLE notes (id bigserial PRIMARY KEY, mark text NOT NULL, number int)")


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


@pytest.fixture(scope="session")
def house(pg: Server) -> Iterator[House]:
    """PostgreSQL with an empty database, and poolguard in front of it."""
    with pg.fresh_database() as database:
        daemon = Daemon(
            {
                "upstream": {"url": database.url},
                "pools": POOLS,
                "default_pool": TRANSACTION,
                "policies": {"patient": PATIENT, "strict": STRICT},
                "leases": {"enabled": False},
            }
        )
        try:
            daemon.start()
            daemon.wait_until_it_runs()
            yield House(database, daemon)
        finally:
            daemon.close()
