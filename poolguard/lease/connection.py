"""One connection to PostgreSQL for leases: how it is opened, what its session is told, and what its errors mean."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import psycopg
from psycopg import IsolationLevel, conninfo, waiting
from psycopg.rows import DictRow, dict_row

from poolguard.core.errors import SettingsError
from poolguard.lease.terms import MAX_TOKEN

if TYPE_CHECKING:
    from psycopg.abc import PQGen

T = TypeVar("T")

APPLICATION_NAME: Final = "poolguard-lease"
LOCK_TIMEOUT_SECONDS: Final = 1.0
"""Below the shortest term: a locked row is answered with *unavailable* while there is time to try again."""
STATEMENT_TIMEOUT_SECONDS: Final = 3.0
"""Above what an attempt may take. Were it below, PostgreSQL would give up waiting for a synchronous standby and report
success for a commit that no standby has; this way the attempt ends first, as *unknown*."""
DEFAULT_CONNECT_TIMEOUT: Final = "5"
_WAIT_SECONDS: Final = 0.1
"""As psycopg has it: how often a wait looks up."""

_PARAMETERS: Final = {
    "application_name": APPLICATION_NAME,
    "client_encoding": "UTF8",
    # A standby, or a writer turned read-only, is refused at login; with several hosts the next one is tried.
    "target_session_attrs": "read-write",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}

_SESSION: Final = {
    # Whatever role or database prescribe: under REPEATABLE READ or above a lost race would be an error (40001).
    "default_transaction_isolation": "read committed",
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS:g}s",
    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS:g}s",
    "idle_in_transaction_session_timeout": "5s",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    "TimeZone": "UTC",
    "DateStyle": "ISO",  # psycopg reads no other
}

# Names unknown to this version of PostgreSQL are left out, for they would be errors. Only `off` is raised: remote_apply
# and its like are the operator's choice.
_CONFIGURE: Final = """
SELECT set_config(wanted.name, wanted.value, false)
  FROM unnest(%(names)s::text[], %(values)s::text[]) AS wanted (name, value)
  JOIN pg_catalog.pg_settings AS known ON lower(known.name) = lower(wanted.name)
UNION ALL
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""

_TIMELINE: Final = "SELECT pg_walfile_name(pg_current_wal_lsn()) AS name"
_MAX_TIMELINE: Final = MAX_TOKEN >> 32


def as_given() -> None:
    """The password that the conninfo holds, or none."""


class LeaseConnection(psycopg.AsyncConnection[DictRow]):
    """A connection whose session is ready for lease statements."""

    timeline: int = 0
    """WAL timeline of the server, which can't change under a writable session; 0: it can't be read here."""

    @classmethod
    async def connect(cls, conninfo: str = "", **kwargs: Any) -> Self:
        """Connect in autocommit, by the password that `password_now` gives: it may have been changed meanwhile.

        Raises psycopg.Error, of which `on_refused` is told: a pool keeps it to itself.
        """
        on_refused: Callable[[psycopg.Error], None] = kwargs.pop("on_refused", lambda _: None)
        password = kwargs.pop("password_now", as_given)()
        if password is not None:
            kwargs["password"] = password
        # No prepared statements: a handful of statements a second gains nothing from them.
        try:
            return await super().connect(
                conninfo, autocommit=True, prepare_threshold=None, row_factory=dict_row, **kwargs
            )
        except psycopg.Error as error:
            on_refused(error)
            raise

    async def wait(self, gen: "PQGen[T]", interval: float = _WAIT_SECONDS, *more: Any, **named: Any) -> T:
        """Wait for PostgreSQL; whoever is cancelled meanwhile leaves a closed connection behind, at once.

        psycopg would ask PostgreSQL to cancel first, and wait up to ten seconds for that: of a server that does not
        answer, too.
        """
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval, *more, **named)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


def parameters(dsn: str) -> str:
    """Complete a libpq URL or conninfo. Raises SettingsError, without its content, for what libpq can't read."""
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise SettingsError(
            "leases: the connection string to PostgreSQL can't be read",
            hint="Write upstream.url as postgresql://user@host:5432/database.",
        ) from None
    wanted = {"connect_timeout": DEFAULT_CONNECT_TIMEOUT, **given, **_PARAMETERS}
    return conninfo.make_conninfo(**{key: str(value) for key, value in wanted.items() if value is not None})


async def configure(connection: LeaseConnection) -> None:
    """Make a fresh session ready. Raises psycopg.Error."""
    await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
    await connection.execute(_CONFIGURE, {"names": list(_SESSION), "values": list(_SESSION.values())})
    connection.timeline = await _read_timeline(connection)


async def _read_timeline(connection: LeaseConnection) -> int:
    try:
        row = await (await connection.execute(_TIMELINE)).fetchone()
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFunction):
        return 0
    return timeline_of(str(row["name"])) if row is not None else 0


def timeline_of(wal_file: str) -> int:
    """Return the timeline in the name of a WAL file (its first eight hex digits); 0 if tokens have no room for it."""
    timeline = int(wal_file[:8], 16)
    return timeline if timeline < _MAX_TIMELINE else 0


class Fault(Enum):
    """What an error of PostgreSQL means for a lease request."""

    LOCKED = auto()
    """Somebody keeps the row locked. Nothing was done."""
    RETRY = auto()
    """Two statements met, or this one took too long. Nothing was done."""
    GONE = auto()
    """The connection is lost: what was sent may have been done."""
    READ_ONLY = auto()
    """This server does not write any more; another one may. Nothing was done."""
    NO_SCHEMA = auto()
    """The table is missing or not ours to use. Nothing was done."""
    REFUSED = auto()
    """Anything else. Nothing was done."""


_FAULTS: Final = {
    "55P03": Fault.LOCKED,  # lock_not_available
    "40001": Fault.RETRY,  # serialization_failure
    "40P01": Fault.RETRY,  # deadlock_detected
    "57014": Fault.RETRY,  # query_canceled: statement_timeout, or pg_cancel_backend
    "25006": Fault.READ_ONLY,  # read_only_sql_transaction
    "25P03": Fault.GONE,  # idle_in_transaction_session_timeout
    "25P04": Fault.GONE,  # transaction_timeout
    "57P01": Fault.GONE,  # admin_shutdown
    "57P02": Fault.GONE,  # crash_shutdown
    "57P03": Fault.GONE,  # cannot_connect_now
    "57P04": Fault.GONE,  # database_dropped
    "57P05": Fault.GONE,  # idle_session_timeout
    "42P01": Fault.NO_SCHEMA,  # undefined_table
    "42703": Fault.NO_SCHEMA,  # undefined_column
    "3F000": Fault.NO_SCHEMA,  # invalid_schema_name
    "42501": Fault.NO_SCHEMA,  # insufficient_privilege
}


def fault_of(error: psycopg.Error) -> Fault:
    """Say what *error* means."""
    if error.sqlstate is None:
        # libpq's own: the socket broke. (psycopg's misuse errors are of other classes, and are bugs.)
        return Fault.GONE if isinstance(error, psycopg.OperationalError) else Fault.REFUSED
    if error.sqlstate.startswith("08"):
        return Fault.GONE
    return _FAULTS.get(error.sqlstate, Fault.REFUSED)


def told(error: BaseException) -> str:
    """*error* in one line for operators: class, SQLSTATE, message. libpq never puts a password in one."""
    lines = str(error).strip().splitlines() or [""]
    sqlstate = error.sqlstate if isinstance(error, psycopg.Error) and error.sqlstate else ""
    # PostgreSQL says it in its first line; libpq, of a host with several addresses, only in those below.
    first = lines[0] if sqlstate else " ".join(line.strip() for line in lines)
    return " ".join(part for part in (type(error).__name__, sqlstate, first[:300]) if part)
