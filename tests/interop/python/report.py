"""What the Python programs share: where to connect, what the administrator does, and how a scenario is told.

A scenario is a function that raises when something is not as it must be. The environment says where: INTEROP_TARGET and
INTEROP_LEAKY (URLs through what is tested; the latter's guard ends what is idle in a transaction; missing where there is no
guard) and INTEROP_ADMIN (PostgreSQL itself).
"""

import json
import os
import traceback
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import psycopg

TARGET: Final = os.environ["INTEROP_TARGET"]
LEAKY: Final = os.environ.get("INTEROP_LEAKY", "")
KEY: Final = 20_011
"""Advisory lock that a leaked transaction holds: who gets it knows that the transaction was ended."""
LEAK: Final = f"INSERT INTO notes (mark) SELECT 'leaked' FROM pg_advisory_xact_lock({KEY})"
SLEEPERS: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_sleep' AND state = 'active' AND pid <> pg_backend_pid()"
)

MANY: Final = 60
"""Distinct statements: more than poolguard keeps on a server here, and than the drivers' caches are made to keep."""
LARGE: Final = 8 * 1024 * 1024
ROWS: Final = 20_000

Row = tuple[object, ...]


class Admin:
    """PostgreSQL itself, past whatever is tested."""

    def __init__(self) -> None:
        self._connection: Final[psycopg.Connection[Row]] = psycopg.connect(os.environ["INTEROP_ADMIN"], autocommit=True)

    def value(self, statement: str, *parameters: object) -> object:
        """The first column of the first row."""
        row = self._connection.execute(statement.encode(), parameters).fetchone()
        return None if row is None else row[0]

    def marks(self, mark: str) -> object:
        """How many committed notes carry *mark*."""
        return self.value("SELECT count(*) FROM notes WHERE mark = %s", mark)

    def forget(self) -> None:
        """Remove all notes."""
        self._connection.execute("TRUNCATE notes")

    def kill(self, pid: object) -> None:
        """End a backend, and return when it is gone."""
        assert self.value("SELECT pg_terminate_backend(%s, 10000)", pid) is True

    def notify(self, channel: str, payload: str) -> None:
        """Send a notification."""
        self.value("SELECT pg_notify(%s, %s)", channel, payload)

    def wait_until_rolled_back(self) -> None:
        """Return when the transaction that ran LEAK has ended."""
        self.value("SELECT set_config('lock_timeout', '10s', false)")
        self.value("SELECT pg_advisory_lock(%s)", KEY)
        self.value("SELECT pg_advisory_unlock(%s)", KEY)

    def wait_until_it_sleeps(self) -> None:
        """Return when somebody runs pg_sleep."""
        while not self.value(SLEEPERS):
            self.value("SELECT pg_sleep(0.01)")

    def nothing_sleeps(self) -> None:
        """Return when nobody runs pg_sleep any more."""
        while self.value(SLEEPERS):
            self.value("SELECT pg_sleep(0.01)")


def parts(url: str) -> tuple[str, int, str, str]:
    """Host, port, user and database of a URL."""
    split = urlsplit(url)
    assert split.hostname is not None, url
    assert split.port is not None, url
    assert split.username is not None, url
    return split.hostname, split.port, split.username, split.path[1:]


def same(got: object, expected: object) -> None:
    """Fail unless both are equal; long values are not printed."""
    if got != expected:
        raise AssertionError(f"got {str(got)[:300]!r}, expected {str(expected)[:300]!r}")


def raises(do: Callable[[], object], *codes: str, code_of: Callable[[BaseException], object]) -> None:
    """Fail unless *do* raises an error with one of *codes* (SQLSTATE); without *codes*, any Exception."""
    try:
        do()
    except Exception as error:
        code = code_of(error)
        if codes and code not in codes:
            raise AssertionError(f"SQLSTATE {code}, expected {codes}: {error}") from error
    else:
        raise AssertionError(f"no error, expected {codes or 'one'}")


def main(*scenarios: Callable[[], None]) -> None:
    """Run all, and tell of each in one line; those of leaks only where there is a guard."""
    for scenario in scenarios:
        name = scenario.__name__.rstrip("_")
        if name.startswith("leaked") and not LEAKY:
            continue
        detail = ""
        try:
            scenario()
        except Exception:
            detail = traceback.format_exc()
        print(json.dumps({"scenario": name, "ok": not detail, "detail": detail}), flush=True)
