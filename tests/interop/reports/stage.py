"""What each script stands on: a database of its own, poolguard in front of it with the script's settings, and the story told."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psycopg

from poolguard.demo.screen import Check, Tone, screen_on
from tests.interop.reports.application import Application
from tests.interop.toolchains import Toolchain
from tests.support.cluster import Server
from tests.support.daemon import Connection, Daemon
from tests.support.eventually import eventually

HERE: Final = Path(__file__).parent
PATIENCE_SECONDS: Final = 15.0
SHORT: Final = 110
FREE_PORTS: Final = """
listen:
  clients: {port: 0}
  control: {port: 0}
  metrics: {host: 127.0.0.1, port: 0}
"""


class Stage:
    """One script's. On exit its applications, poolguard and the database are gone."""

    def __init__(self, name: str, server: Server) -> None:
        self.screen: Final = screen_on(sys.stdout, os.environ)
        self.checks: Final[list[Check]] = []
        self._settings = (HERE / f"{name}.yaml").read_text()
        self._server: Final = server
        self._stack: Final = ExitStack()
        self._threads: Final = ThreadPoolExecutor(1, thread_name_prefix="report")

    def __enter__(self) -> Self:
        self._database = self._stack.enter_context(self._server.fresh_database())
        self.admin: psycopg.Connection[tuple[Any, ...]] = self._stack.enter_context(self._database.connect())
        self.daemon = Daemon({}, environ={"DATABASE_URL": self._database.url})
        self._stack.callback(self.daemon.close)
        self._write_settings()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, Exception):
            print(self.daemon.log_text()[-5000:], file=sys.stderr)
        self._stack.close()
        self._threads.shutdown()

    # What is on it.

    def set_up(self, schema: str) -> None:
        """Make the tables, then start poolguard."""
        self.admin.execute(schema.encode())
        self.daemon.start()
        self.daemon.wait_until_it_runs()

    def change_settings(self, old: str, new: str) -> None:
        """Do as an operator does: edit the file while poolguard runs, and wait until it has taken the change over."""
        assert self._settings.count(old) == 1, f"{old!r} stands {self._settings.count(old)} times in the settings"
        self._settings = self._settings.replace(old, new)
        times = len(self.daemon.logged("settings reloaded")) + 1
        self._write_settings()
        self.daemon.told("settings reloaded", times=times)

    def _write_settings(self) -> None:
        self.daemon.write_text(self._settings + FREE_PORTS)

    def start(self, toolchain: Toolchain, program: str, *, pool: str, name: str, **environ: str) -> Application:
        """Start an application that calls itself *name*, with DATABASE_URL through *pool*."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        given = {
            "DATABASE_URL": f"postgresql://shop@127.0.0.1:{self.daemon.clients_port}/{pool}?application_name={name}",
            "INTEROP_ADMIN": self._database.url,
        }
        application = Application(toolchain.command(program), {**inherited, **given, **environ})
        return self._stack.enter_context(application)

    def connect(self, pool: str, name: str) -> Connection:
        """A client in this process, through *pool*, in autocommit."""
        return self._stack.enter_context(self.daemon.connect(pool, autocommit=True, application_name=name))

    def in_background(self, work: Callable[[], object]) -> Callable[[], BaseException | None]:
        """Begin *work* in a thread. What is returned waits for its end, and gives the error of PostgreSQL that it ended with."""
        future = self._threads.submit(work)
        return lambda: future.exception(PATIENCE_SECONDS)

    def value(self, statement: str, *parameters: object) -> Any:
        """Ask PostgreSQL itself."""
        row = self.admin.execute(statement.encode(), parameters).fetchone()
        assert row is not None, statement
        return row[0]

    # What poolguard says.

    def incidents(self, *, number: int = 1, **filters: str) -> list[dict[str, Any]]:
        """Wait until /v1/incidents shows at least *number* of them; the newest is the first. `kind` is a filter too."""
        kind = filters.pop("kind", None)
        query = "&".join(f"{key}={value}" for key, value in filters.items())

        def found() -> list[dict[str, Any]]:
            every = self.daemon.get(f"/v1/incidents?limit=500&{query}")["incidents"]
            some = [incident for incident in every if kind is None or incident["kind"] == kind]
            assert len(some) >= number, f"{len(some)} of {number} incidents"
            return some

        return eventually(found, within=PATIENCE_SECONDS)

    def client(self, name: str, **wanted: object) -> dict[str, Any]:
        """Wait until /v1/clients shows the application *name* with all that is *wanted*."""

        def found() -> dict[str, Any]:
            clients = self.daemon.get(f"/v1/clients?application_name={name}")["clients"]
            assert clients, f"no client {name}"
            assert wanted.items() <= clients[0].items(), clients
            return dict(clients[0])

        return eventually(found, within=PATIENCE_SECONDS)

    # The story.

    def act(self, title: str) -> None:
        """Say what comes next."""
        self.screen.title(title)

    def tell(self, who: str, text: str, tone: Tone = Tone.PLAIN) -> None:
        """Say what happened."""
        self.screen.say(who, text, tone)

    def quote(self, where: str, text: str) -> None:
        """Show what poolguard says, and where an operator reads it."""
        self.screen.say("poolguard", f"{where}\n{text}", Tone.QUIET)

    def claim(self, wanted: str, seen: object, good: object) -> None:
        """Note one thing that was to be seen, what was, and whether that is it."""
        self.checks.append(Check(wanted, str(seen), bool(good)))

    def verdict(self) -> bool:
        """Show all claims; whether every one holds."""
        self.screen.table(self.checks)
        return bool(self.checks) and all(check.good for check in self.checks)


def culprit(incident: Mapping[str, Any], party: str = "transaction") -> str:
    """Who an incident is about, in a line: application, route, what it last said."""
    return of_party(incident[party])


def of_party(party: Mapping[str, Any]) -> str:
    """One holder, in a line."""
    route = f" route={party['tags']['route']}" if "route" in party["tags"] else ""
    statement = party["fingerprints"][-1]
    return f"{party['application_name']}{route} {statement['id'][:8]} {short(statement['text'])}"


def short(text: str) -> str:
    """The beginning of a statement: Prisma's end in a list of all columns."""
    return text if len(text) <= SHORT else f"{text[:SHORT]}..."


def lines(texts: Sequence[str]) -> str:
    """One below the other."""
    return "\n".join(texts)
