"""The settings, typed and frozen. Every default is here, and config/poolguard.yaml repeats them (a test compares).

Pure. pydantic reads these plain dataclasses (`load.py`), reports all problems with their paths, and writes the
JSON Schema. What a reload may change live and what drains a pool is decided in `diff.py`.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

from poolguard.core.units import parse_duration, parse_size


def _seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else _no_number(value, "30s")


def _bytes(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else _no_number(value, "64KiB")


def _no_number(value: object, example: str) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit: write for example {example}")  # noqa: TRY004 - pydantic wants it
    return value


Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(ge=0, le=366 * 86400),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$", "examples": ["30s"]}),
]
Bytes = Annotated[
    int,
    BeforeValidator(_bytes),
    Field(ge=1),
    WithJsonSchema({"type": "string", "pattern": r"^\d+\s*(B|KiB|MiB|GiB)$", "examples": ["64KiB"]}),
]
Port = Annotated[int, Field(ge=0, le=65535)]
"""0 means: any free port (tests, demo)."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$")]

FORBID: Final = {"extra": "forbid"}


class PoolMode(StrEnum):
    """How long a server is held: to the end of a transaction, or of the session."""

    TRANSACTION = "transaction"
    SESSION = "session"


class PolicyMode(StrEnum):
    """Whether verdicts are carried out, or only counted and logged as would-have."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class AuthMethod(StrEnum):
    """How clients prove who they are. `trust` is refused on any address but loopback and Unix sockets."""

    TRUST = "trust"
    SCRAM = "scram-sha-256"


class LogFormat(StrEnum):
    """`json`: one object a line. `text`: for a person at a terminal."""

    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """The least serious level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """PostgreSQL, as libpq would be told of it. What the URL leaves out comes from PG* and ~/.pgpass."""

    __pydantic_config__: ClassVar = FORBID
    url: str = ""
    password_file: str | None = None
    connect_timeout: Seconds = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientsListener:
    """Where applications connect with the PostgreSQL protocol."""

    __pydantic_config__: ClassVar = FORBID
    host: str = "127.0.0.1"
    port: Port = 6432
    unix_socket_dir: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlListener:
    """Leases, admin and the page. HTTP."""

    __pydantic_config__: ClassVar = FORBID
    host: str = "127.0.0.1"
    port: Port = 6433


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsListener:
    """/metrics, /livez, /readyz, /startupz. Not loopback: neither kubelet nor Prometheus could reach that."""

    __pydantic_config__: ClassVar = FORBID
    host: str = "0.0.0.0"  # noqa: S104 - read-only, no statement text; see the docstring
    port: Port = 9127


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """The three listeners."""

    __pydantic_config__: ClassVar = FORBID
    clients: ClientsListener = field(default_factory=ClientsListener)
    control: ControlListener = field(default_factory=ControlListener)
    metrics: MetricsListener = field(default_factory=MetricsListener)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One user that may log in by SCRAM: a password, a file that holds it, or PostgreSQL's SCRAM secret of it."""

    __pydantic_config__: ClassVar = FORBID
    password: Annotated[str | None, Field(repr=False)] = field(default=None, repr=False)
    password_file: str | None = None

    def __post_init__(self) -> None:
        if (self.password is None) == (self.password_file is None):
            raise ValueError("give exactly one of password and password_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Who may connect, and who may change things over HTTP."""

    __pydantic_config__: ClassVar = FORBID
    method: AuthMethod = AuthMethod.TRUST
    users: Mapping[str, User] = field(default_factory=dict)
    admin_token: str = field(default="", repr=False)
    admin_token_file: str | None = None

    def __post_init__(self) -> None:
        if self.method is AuthMethod.SCRAM and not self.users:
            raise ValueError("method scram-sha-256 needs at least one entry in users")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One named set of servers with its own limit, queue and policy."""

    __pydantic_config__: ClassVar = FORBID
    size: Annotated[int, Field(ge=1, le=10_000)] = 20
    min_idle: Annotated[int, Field(ge=0, le=10_000)] = 0
    mode: PoolMode = PoolMode.TRANSACTION
    wait_timeout: Seconds = 10.0
    max_waiting: Annotated[int, Field(ge=0, le=100_000)] = 500
    policy: str = "app"
    max_lifetime: Seconds = 3600.0
    idle_timeout: Seconds = 600.0
    prepared_statements: Annotated[int, Field(ge=0, le=10_000)] = 200
    role: str | None = None
    application_name: str | None = None
    upstream: Upstream | None = None

    def __post_init__(self) -> None:
        if self.min_idle > self.size:
            raise ValueError(f"min_idle {self.min_idle} is above size {self.size}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a route looks at: globs over what the client said at login. Keys are ANDed."""

    __pydantic_config__: ClassVar = FORBID
    application_name: str | None = None
    user: str | None = None
    database: str | None = None

    def __post_init__(self) -> None:
        if self.application_name is None and self.user is None and self.database is None:
            raise ValueError("match is empty: give application_name, user or database")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Send the sessions that match to *pool*. The first route that matches wins."""

    __pydantic_config__: ClassVar = FORBID
    match: Match
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Ages at which each step of the ladder is taken, mildest first."""

    __pydantic_config__: ClassVar = FORBID
    warn: Seconds | None = None
    cancel: Seconds | None = None
    rollback: Seconds | None = None
    terminate: Seconds | None = None

    def __post_init__(self) -> None:
        steps = [(name, getattr(self, name)) for name in ("warn", "cancel", "rollback", "terminate")]
        given = [(name, at) for name, at in steps if at is not None]
        if not given:
            raise ValueError("no step given: write warn, cancel, rollback or terminate with a duration")
        for (milder, earlier), (harsher, later) in itertools.pairwise(given):
            if earlier > later:
                raise ValueError(f"{milder} comes after {harsher}: a milder step must not come later")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exempt:
    """Whom the guard leaves alone: globs of application_name, or a marker in a comment of the statement."""

    __pydantic_config__: ClassVar = FORBID
    application_name: tuple[str, ...] = ("pg_dump*", "pg_restore*")
    comment: str | None = "poolguard:ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may be ended before the guard stops and calls for a person."""

    __pydantic_config__: ClassVar = FORBID
    kills_per_minute: Annotated[int, Field(ge=0)] = 30
    max_share_of_pool: Annotated[float, Field(gt=0, le=1)] = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is done about transactions of the pools that name it."""

    __pydantic_config__: ClassVar = FORBID
    mode: PolicyMode = PolicyMode.ENFORCE
    idle_in_transaction: Ladder | None = None
    transaction_age: Ladder | None = None
    statement_age: Ladder | None = None
    checkout_age: Ladder | None = None
    exempt: Exempt = field(default_factory=Exempt)
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        # An idle backend has nothing to cancel, a running statement can't be rolled back from outside:
        # PostgreSQL docs, 55.2.8 (Canceling Requests in Progress).
        if self.idle_in_transaction is not None and self.idle_in_transaction.cancel is not None:
            raise ValueError("idle_in_transaction has no cancel: nothing runs; use rollback or terminate")
        if self.statement_age is not None and self.statement_age.rollback is not None:
            raise ValueError("statement_age has no rollback: a statement runs; use cancel or terminate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """The lease API, on connections that no pool shares."""

    __pydantic_config__: ClassVar = FORBID
    enabled: bool = True
    connections: Annotated[int, Field(ge=1, le=16)] = 2
    schema: Name = "poolguard"
    create_schema: bool = True
    default_ttl: Annotated[Seconds, Field(ge=2, le=86400)] = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what clients can make poolguard hold."""

    __pydantic_config__: ClassVar = FORBID
    max_clients: Annotated[int, Field(ge=1, le=1_000_000)] = 5000
    login_timeout: Seconds = 15.0
    message_bytes: Bytes = 256 * 1024**2
    buffer_bytes: Bytes = 256 * 1024
    statements_per_client: Annotated[int, Field(ge=1, le=100_000)] = 1000
    drain_timeout: Seconds = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What is written to standard error."""

    __pydantic_config__: ClassVar = FORBID
    format: LogFormat = LogFormat.JSON
    level: LogLevel = LogLevel.INFO


def default_pools() -> dict[str, Pool]:
    """The three pools that exist when the file names none."""
    return {
        "election": Pool(size=4, wait_timeout=2.0, max_waiting=100, policy="election"),
        "jobs": Pool(size=10, wait_timeout=5.0, max_waiting=200, policy="jobs"),
        "app": Pool(size=20, wait_timeout=10.0, max_waiting=500, policy="app"),
    }


def default_policies() -> dict[str, Policy]:
    """The three policies that exist unless the file gives others of the same name."""
    return {
        # Below River's own deadline of 5 s, so that its next attempt finds a server.
        "election": Policy(
            idle_in_transaction=Ladder(warn=1.0, rollback=3.0, terminate=30.0),
            transaction_age=Ladder(cancel=4.0),
            checkout_age=Ladder(warn=60.0),
        ),
        "jobs": Policy(
            idle_in_transaction=Ladder(warn=30.0, rollback=120.0, terminate=600.0),
            transaction_age=Ladder(warn=900.0),
            checkout_age=Ladder(warn=1800.0),
        ),
        "app": Policy(
            idle_in_transaction=Ladder(warn=10.0, rollback=60.0, terminate=300.0),
            transaction_age=Ladder(warn=300.0),
            statement_age=Ladder(warn=60.0),
            checkout_age=Ladder(warn=600.0),
        ),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything. `Settings()` is what runs when there is no file."""

    __pydantic_config__: ClassVar = FORBID
    upstream: Upstream = field(default_factory=Upstream)
    listen: Listen = field(default_factory=Listen)
    auth: Auth = field(default_factory=Auth)
    pools: Mapping[Name, Pool] = field(default_factory=default_pools)
    default_pool: str = "app"
    routes: tuple[Route, ...] = ()
    policies: Mapping[Name, Policy] = field(default_factory=default_policies)
    leases: Leases = field(default_factory=Leases)
    limits: Limits = field(default_factory=Limits)
    log: Log = field(default_factory=Log)
