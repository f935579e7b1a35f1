"""The PostgreSQL that tests talk to: an embedded one of this worker's own, or any server (`--pg-dsn`)."""

import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import psycopg
import pytest
from psycopg import conninfo, sql

from poolguard.demo.postgres import EmbeddedPostgres

NO_CONTROL: Final = "needs to control the server process, and --pg-dsn names a server that is not ours"


@dataclass(frozen=True, slots=True)
class Database:
    """One database: where it is, and how to get in."""

    dsn: str = field(repr=False)
    """A libpq conninfo for psycopg, asyncpg excepted; holds the password if there is one."""

    def _parameter(self, name: str, default: str = "") -> str:
        value = conninfo.conninfo_to_dict(self.dsn).get(name)
        return default if value is None else str(value)

    @property
    def name(self) -> str:
        return self._parameter("dbname")

    @property
    def host(self) -> str:
        return self._parameter("host", "127.0.0.1")

    @property
    def port(self) -> int:
        return int(self._parameter("port", "5432"))

    @property
    def user(self) -> str:
        return self._parameter("user", "postgres")

    @property
    def password(self) -> str:
        return self._parameter("password")

    @property
    def url(self) -> str:
        """The same as a URL, for those who read nothing else (poolguard's settings, asyncpg)."""
        password = f":{quote(self.password, safe='')}" if self.password else ""
        user, host, name = (quote(text, safe="") for text in (self.user, self.host, self.name))
        return f"postgresql://{user}{password}@{host}:{self.port}/{name}"

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """Open a superuser's connection in autocommit; the caller closes it."""
        return psycopg.connect(self.dsn, autocommit=True, connect_timeout=10)

    async def connect_async(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        """Open a superuser's connection in autocommit on the running loop; the caller closes it."""
        return await psycopg.AsyncConnection.connect(self.dsn, autocommit=True, connect_timeout=10)


@dataclass(frozen=True, slots=True)
class Server(Database):
    """A running PostgreSQL; as a Database it is the one that administration is done from."""

    embedded: EmbeddedPostgres | None = None

    def database(self, name: str) -> Database:
        """Name another database of this server."""
        return Database(conninfo.make_conninfo(self.dsn, dbname=name))

    @contextmanager
    def fresh_database(self) -> Iterator[Database]:
        """Lend an empty database; it is dropped afterwards, whoever is still connected."""
        name = f"t_{secrets.token_hex(6)}"
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield self.database(name)
        finally:
            if self.embedded is not None:
                self.embedded.start()  # does nothing unless the test left it down
            with self.connect() as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def program(self, name: str) -> str:
        """A client's program: the one that came with the server, or that of PATH; skips the test if it is too old."""
        beside = self.embedded.binaries.folder / name if self.embedded is not None else None
        path = str(beside) if beside is not None and beside.exists() else shutil.which(name)
        if path is None:
            pytest.skip(f"no {name}: apt-get install postgresql-client")
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        with self.connect() as admin:
            if int(re.findall(r"\d+", said)[0]) < admin.info.server_version // 10000:
                pytest.skip(f"{said.strip()} refuses a newer server")
        return path

    def control(self) -> EmbeddedPostgres:
        """Return the server's process to stop, kill or restart; skips the test if it is not ours."""
        if self.embedded is None:
            pytest.skip(NO_CONTROL)
        return self.embedded


def of_dsn(dsn: str) -> Server:
    """Take any server, by a superuser's conninfo or URL."""
    return Server(conninfo.make_conninfo(dsn))


def of_embedded(postgres: EmbeddedPostgres) -> Server:
    """Take a started embedded server."""
    return Server(conninfo.make_conninfo(postgres.url), embedded=postgres)
