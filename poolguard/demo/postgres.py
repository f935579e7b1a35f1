"""A private PostgreSQL: made, started, broken on purpose and removed by whoever holds it."""

import os
import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from poolguard.core.errors import UpstreamUnavailable
from poolguard.demo.binaries import HOW_TO_GET, Binaries, find_binaries
from poolguard.demo.commands import (
    SETTINGS,
    SUPERUSER,
    AuthMethod,
    StopMode,
    environment,
    initdb_command,
    server_command,
)
from poolguard.demo.identity import make_private_folder, reachable, reachable_copy, server_identity
from poolguard.demo.kept import KeptProcesses
from poolguard.demo.ports import free_port

__all__ = ["AuthMethod", "EmbeddedPostgres", "StopMode"]

HOST: Final = "127.0.0.1"
_SOCKET_FOLDER: Final = "s"
_STEP_SECONDS: Final = 0.02
_PORT_TRIES: Final = 5
_SECRET_FILE_MODE: Final = 0o600


class EmbeddedPostgres:
    """A context manager: one cluster on loopback and on a Unix socket, superuser `postgres`, UTF8, locale C.

    It ends with the `with`, at the latest with this process, whatever ended that. Blocking. *settings*
    override SETTINGS and PostgreSQL's own; `self.settings` may be changed and counts from the next start.
    *hba* are lines of pg_hba.conf that come before the ones of *auth*.

    Raises SettingsError when there are no server binaries, UpstreamUnavailable when the server fails (the
    last lines of its log are in the message).
    """

    def __init__(
        self,
        *,
        settings: Mapping[str, str] | None = None,
        auth: AuthMethod = AuthMethod.TRUST,
        hba: Sequence[str] = (),
        binaries: Binaries | None = None,
        start_within: float = 60.0,
    ) -> None:
        self.settings: dict[str, str] = {**SETTINGS, **(settings or {})}
        self.host: Final = HOST
        self.port = 0
        self.user: Final = SUPERUSER
        self.password: Final = secrets.token_urlsafe(16) if auth is AuthMethod.SCRAM else ""
        self._auth: Final = auth
        self._hba: Final = tuple(hba)
        self._binaries = binaries
        self._start_within: Final = start_within
        self._kept: KeptProcesses | None = None
        self._pid: int | None = None

    def __repr__(self) -> str:
        return f"<EmbeddedPostgres {self.host}:{self.port} pid {self._pid}>"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Where it is

    @property
    def binaries(self) -> Binaries:
        """The programs that it runs; `binaries.tool("pgbench")` gives a client's."""
        if self._binaries is None:
            self._binaries = find_binaries(os.environ)
        return self._binaries

    @property
    def folder(self) -> Path:
        """The private folder; the data is in `data` below it."""
        return self._keeper().folder

    @property
    def data_folder(self) -> Path:
        """PGDATA."""
        return self.folder / "data"

    @property
    def socket_folder(self) -> Path:
        """Where the Unix socket is: `host=` of a conninfo."""
        return self.folder / _SOCKET_FOLDER

    @property
    def url(self) -> str:
        """A libpq URL over TCP to database `postgres`, as superuser; with the password if there is one."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """A libpq URL over TCP to *database*."""
        password = f":{quote(self.password, safe='')}" if self.password else ""
        return f"postgresql://{self.user}{password}@{self.host}:{self.port}/{quote(database, safe='')}"

    @property
    def pid(self) -> int | None:
        """The postmaster's pid; None while it is stopped."""
        return self._pid

    @property
    def running(self) -> bool:
        """Whether the postmaster lives."""
        return self._kept is not None and self._pid is not None and self._kept.poll(self._pid) is None

    # Its life

    def start(self) -> None:
        """Make the cluster if it is new, start the server, return when it accepts connections."""
        if self.running:
            return
        if self._kept is None:
            self._make()
            self._start_on_a_free_port()
        else:
            self._launch()

    def stop(self, mode: StopMode = StopMode.FAST, *, within: float = 30.0) -> None:
        """Stop the server and keep the data: `start` begins again on the same port."""
        if self._pid is None:
            return
        self._keeper().signal(self._pid, mode.signal)
        deadline = time.monotonic() + within
        while self.running:
            if time.monotonic() >= deadline:
                raise UpstreamUnavailable(
                    f"PostgreSQL did not stop ({mode.value}) in {within:.0f} s\n{self.log_tail()}"
                )
            time.sleep(_STEP_SECONDS)
        self._pid = None

    def restart(self, mode: StopMode = StopMode.FAST) -> None:
        """Stop, then start on the same port, with what `settings` now says."""
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """SIGKILL the postmaster and all backends, as the kernel does when memory is short; it stays down."""
        if self._pid is not None:
            self._keeper().kill(self._pid)
            self._pid = None

    def crash(self) -> None:
        """`kill`, then start: the server recovers as after a crash."""
        self.kill()
        self.start()

    def reload(self) -> None:
        """Make it read pg_hba.conf and its files again (SIGHUP)."""
        assert self._pid is not None, "a stopped server has nothing to reload"
        self._keeper().signal(self._pid, signal.SIGHUP)

    def close(self) -> None:
        """End the server at once and remove everything; twice does no harm."""
        if self._kept is not None:
            self._kept.close()
        self._pid = None

    # What is in it

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """Open a superuser's connection in autocommit; the caller closes it."""
        return psycopg.connect(self.url_of(database), autocommit=True, connect_timeout=10)

    def create_database(self, name: str) -> str:
        """Create a database; return its URL."""
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url_of(name)

    def put_file(self, name: str, content: bytes) -> Path:
        """Write a file that only the server can read (a certificate's key) into the data folder."""
        path = self.data_folder / name
        path.touch(mode=_SECRET_FILE_MODE)
        path.write_bytes(content)
        server_identity().give(path)
        return path

    def log_text(self) -> str:
        """All that initdb and the server have said so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of `log_text`."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    # How it is done

    def _keeper(self) -> KeptProcesses:
        if self._kept is None:
            raise UpstreamUnavailable("this PostgreSQL was not started yet: call start, or use `with`")
        return self._kept

    def _make(self) -> None:
        binaries = self.binaries
        identity = server_identity()
        # A socket's name holds the port, which has five digits.
        folder = make_private_folder(identity, longest_socket=f"{_SOCKET_FOLDER}/.s.PGSQL.65535")
        self._kept = KeptProcesses(folder)
        self.socket_folder.mkdir(mode=0o700)
        identity.give(self.socket_folder)
        real = binaries.tool("postgres").resolve().parent
        if not reachable(real, identity):
            copy = reachable_copy(real.parent, folder)
            self._binaries = binaries = Binaries(copy / "bin", binaries.place)
        password_file = self._write_password(folder) if self.password else None
        self._run_initdb(initdb_command(binaries, self.data_folder, self._auth, password_file))
        if password_file is not None:
            password_file.unlink()
        if self._hba:
            hba_file = self.data_folder / "pg_hba.conf"
            hba_file.write_text("\n".join([*self._hba, hba_file.read_text()]))

    def _write_password(self, folder: Path) -> Path:
        path = folder / "password"
        path.touch(mode=_SECRET_FILE_MODE)
        path.write_text(self.password)
        server_identity().give(path)
        return path

    def _run_initdb(self, argv: Sequence[str]) -> None:
        keeper = self._keeper()
        pid = keeper.spawn(
            argv, log=self.folder / "log", env=environment(self.binaries, os.environ), identity=server_identity()
        )
        deadline = time.monotonic() + self._start_within
        while (returncode := keeper.poll(pid)) is None:
            if time.monotonic() >= deadline:
                keeper.kill(pid)
            time.sleep(_STEP_SECONDS)
        if returncode != 0:
            raise UpstreamUnavailable(
                f"initdb failed with exit code {returncode} ({self.binaries.folder})\n{self.log_tail()}",
                hint=HOW_TO_GET,
            )

    def _start_on_a_free_port(self) -> None:
        for attempt in range(1, _PORT_TRIES + 1):
            self.port = free_port(self.host)
            try:
                self._launch()
            except UpstreamUnavailable:
                # Between our look and its bind somebody else may have taken the port.
                if attempt == _PORT_TRIES or "Address already in use" not in self.log_text():
                    raise
            else:
                return

    def _launch(self) -> None:
        argv = server_command(
            self.binaries,
            self.data_folder,
            self.settings,
            host=self.host,
            port=self.port,
            sockets=self.socket_folder,
        )
        self._pid = self._keeper().spawn(
            argv,
            log=self.folder / "log",
            env=environment(self.binaries, os.environ),
            identity=server_identity(),
            end_signal=StopMode.IMMEDIATE.signal,
        )
        self._wait_until_it_accepts()

    def _wait_until_it_accepts(self) -> None:
        deadline = time.monotonic() + self._start_within
        while True:
            if not self.running:
                self._pid = None
                raise UpstreamUnavailable(f"PostgreSQL ended while it started\n{self.log_tail()}")
            try:
                # By the socket in the private folder: on TCP somebody else's server might answer. PostgreSQL
                # opens it after the TCP port, and ends if it can't have that.
                psycopg.connect(
                    host=str(self.socket_folder),
                    port=self.port,
                    user=self.user,
                    password=self.password,
                    dbname="postgres",
                    connect_timeout=5,
                ).close()
            except psycopg.OperationalError as error:
                if time.monotonic() >= deadline:
                    self.kill()
                    raise UpstreamUnavailable(
                        f"PostgreSQL accepts no connection after {self._start_within:.0f} s ({error})\n"
                        f"{self.log_tail()}"
                    ) from None
                time.sleep(_STEP_SECONDS)
            else:
                return
