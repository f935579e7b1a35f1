"""Clients of drivers that block: psycopg, psycopg2 and pg8000, each client in a thread."""

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from tests.relay_soak.marks import Mark

LEAK_SECONDS: Final = 1.2
"""How long a client forgets its transaction: the guard's threshold is 0.5 s."""


class Driver:
    """What the acts need of a driver."""

    module = ""
    placeholder = "%s"
    errors: tuple[type[BaseException], ...]

    def __init__(self) -> None:
        self.api: Any = import_module(self.module)
        self.errors = (self.api.Error, OSError)

    def connect(self, port: int, pool: str, name: str) -> Any:
        """A connection in autocommit."""
        connection = self.api.connect(
            host="127.0.0.1", port=port, user="postgres", dbname=pool, application_name=name, connect_timeout=20
        )
        connection.autocommit = True
        return connection

    def ask(self, connection: Any, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Run one statement; its rows."""
        cursor = connection.cursor()
        cursor.execute(sql, tuple(parameters) if parameters else None)
        return list(cursor.fetchall()) if cursor.description else []

    def sqlstate(self, error: BaseException) -> str | None:
        """Of PostgreSQL's or poolguard's error; None if the connection broke."""
        found = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        return str(found) if found else None

    def break_off(self, connection: Any) -> None:
        """End it as a process that dies does."""
        with suppress(OSError), socket.socket(fileno=connection.fileno()) as sock:
            sock.shutdown(socket.SHUT_RDWR)
            sock.detach()


class Psycopg(Driver):
    """psycopg 3: prepares after the second time, and has a pipeline mode."""

    module = "psycopg"

    def connect(self, port: int, pool: str, name: str) -> Any:
        connection = super().connect(port, pool, name)
        connection.prepare_threshold = 2
        return connection


class Psycopg2(Driver):
    """psycopg2: simple protocol only."""

    module = "psycopg2"


class Pg8000(Driver):
    """pg8000: a driver without libpq; extended protocol, one message at a time."""

    module = "pg8000.dbapi"

    def connect(self, port: int, pool: str, name: str) -> Any:
        connection = self.api.connect(
            host="127.0.0.1", port=port, user="postgres", database=pool, application_name=name, timeout=30
        )
        connection.autocommit = True
        return connection

    def ask(self, connection: Any, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        cursor = connection.cursor()
        cursor.execute(sql, tuple(parameters))
        return list(cursor.fetchall()) if cursor.description else []

    def sqlstate(self, error: BaseException) -> str | None:
        told = error.args[0] if error.args else None
        return told.get("C") if isinstance(told, dict) else None

    def break_off(self, connection: Any) -> None:
        with suppress(OSError, AttributeError):
            connection._usock.shutdown(socket.SHUT_RDWR)


DRIVERS: Final = {"psycopg": Psycopg, "psycopg2": Psycopg2, "pg8000": Pg8000}


class BlockingClient:
    """One client after another, all of the same mark."""

    def __init__(self, driver: Driver, mark: Mark, port: int, pool: str) -> None:
        self._driver = driver
        self._mark = mark
        self._port = port
        self._pool = pool
        self._acts: Sequence[Callable[[Any], None]] = (
            self._select, self._parameters, self._transaction, self._rollback, self._large, self._state, self._leak,
            *((self._pipeline, self._copy) if isinstance(driver, Psycopg) else ()),
        )  # fmt: skip

    def live(self) -> None:
        """Work until the end."""
        while not self._mark.is_over():
            connection = None
            act = "connect"
            try:
                connection = self._driver.connect(self._port, self._pool, self._mark.text)
                for _ in range(self._mark.chance.randrange(1, 40)):
                    chosen = self._mark.chance.choice(self._acts)
                    act = chosen.__name__
                    chosen(connection)
                    self._mark.told.done[act] += 1
                    if self._mark.is_over():
                        break
                if self._mark.chance.random() < 0.2:
                    act = "break off"
                    self._break_off(connection)
            except Exception as error:  # noqa: BLE001 - judged by failed()
                self._mark.failed(act, error, self._sqlstate(error))
                if act == "connect":
                    time.sleep(0.02)  # PostgreSQL is away: do not storm
            finally:
                if connection is not None:
                    with suppress(Exception):
                        connection.close()

    def _sqlstate(self, error: BaseException) -> str | None:
        if isinstance(error, self._driver.errors):
            return self._driver.sqlstate(error)
        return f"no error of {self._driver.module}: {type(error).__name__}"

    def _ask(self, connection: Any, sql: str, *parameters: object) -> list[Any]:
        return self._driver.ask(connection, sql, parameters)

    def _marked(self, count: int) -> str:
        return f"select '{self._mark.text}', g, repeat('x', g) from generate_series(1, {count}) g"

    def _break_off(self, connection: Any) -> None:
        """In the middle of a transaction that must leave nothing behind."""
        self._ask(connection, "begin")
        self._ask(connection, f"insert into done values (-1, '{self._mark.text}')")
        self._driver.break_off(connection)
        self._mark.told.kills += 1

    def _select(self, connection: Any) -> None:
        count = self._mark.chance.choice((1, 1, 10, 200))
        self._mark.selected(self._ask(connection, self._marked(count)), count)

    def _parameters(self, connection: Any) -> None:
        number = self._mark.chance.randrange(1000)
        rows = self._ask(connection, f"select '{self._mark.text}', %s::int + 1", number)
        self._mark.selected(rows, 1)
        self._mark.expect("a sum", rows[0][1], number + 1)

    def _large(self, connection: Any) -> None:
        (row,) = self._ask(connection, f"select '{self._mark.text}' || repeat('y', 300000)")
        self._mark.expect("a large value", row[0], self._mark.text + "y" * 300_000)

    def _transaction(self, connection: Any) -> None:
        row = self._mark.new_row()
        self._ask(connection, "begin")
        self._ask(connection, f"insert into done values (%s, '{self._mark.text}')", row)
        self._mark.selected(self._ask(connection, self._marked(3)), 3)
        self._mark.told.unknown.append(row)
        self._ask(connection, "commit")
        self._mark.told.committed.append(row)
        self._mark.told.unknown.remove(row)

    def _rollback(self, connection: Any) -> None:
        self._ask(connection, "begin")
        self._ask(connection, f"insert into done values (-1, '{self._mark.text}')")
        with suppress(*self._driver.errors):
            self._ask(connection, "select 1/0")
        self._ask(connection, "rollback")

    def _state(self, connection: Any) -> None:
        """A parameter that PostgreSQL reports, one that it doesn't, and back."""
        self._ask(connection, "set timezone = 'Asia/Tokyo'")
        self._ask(connection, "set work_mem = '7MB'")
        rows = self._ask(
            connection, f"select '{self._mark.text}', current_setting('timezone'), current_setting('work_mem')"
        )
        self._mark.selected(rows, 1)
        self._mark.expect("the state", tuple(rows[0][1:]), ("Asia/Tokyo", "7MB"))
        # psycopg would still believe in the statements that it has prepared.
        self._ask(connection, "reset all" if isinstance(self._driver, Psycopg) else "discard all")

    def _leak(self, connection: Any) -> None:
        """Forget a transaction; what was in it must be gone, and COMMIT must say so."""
        if self._mark.chance.random() < 0.9:
            return
        self._ask(connection, "begin")
        self._ask(connection, f"insert into done values (-2, '{self._mark.text}')")
        time.sleep(LEAK_SECONDS)
        self._ask(connection, "commit")
        self._mark.expect("a leaked transaction", "committed", "ended by the guard")

    def _pipeline(self, connection: Any) -> None:
        with connection.pipeline():
            cursors = [connection.execute(self._marked(count)) for count in (1, 2, 3)]
        for count, cursor in enumerate(cursors, 1):
            self._mark.selected(cursor.fetchall(), count)

    def _copy(self, connection: Any) -> None:
        with connection.cursor() as cursor, cursor.copy(f"copy ({self._marked(300)}) to stdout") as copy:
            self._mark.selected(list(copy.rows()), 300)
        connection.execute("begin")
        with connection.cursor() as cursor, cursor.copy("copy done from stdin") as copy:
            for _ in range(300):
                copy.write_row((-3, self._mark.text))
        connection.execute("rollback")
