"""The settings, typed and frozen. Every default is here, and config/poolguard.yaml repeats them (a test compares).

Pure. pydantic reads these plain dataclasses (`load.py`), reports all problems with their paths, and writes the
JSON Schema. What a reload may change live and what drains a pool is decided in `diff.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

from annotated_types import Interval

from poolguard.settings.foreign import ForeignBlockers
from poolguard.settings.kinds import FORBID, Bytes, Expression, LeaseName, Name, Port, Seconds
from poolguard.settings.lanes import Lanes, check_lanes
from poolguard.settings.policies import Policy, PolicyMode, default_policies


class PoolMode(StrEnum):
    """How long a server is held: to the end of a transaction, or of the session."""

    TRANSACTION = "transaction"
    SESSION = "session"


class OnSessionState(StrEnum):
    """What becomes of a statement that leaves something in its server's session, in a pool of mode transaction."""

    PIN = "pin"
    """The session keeps its server."""
    REJECT = "reject"
    """The statement is refused."""
    IGNORE = "ignore"
    """It is run, and what it left is gone with the transaction."""


class AuthMethod(StrEnum):
    """How clients prove who they are. `trust` is refused on any address but loopback and Unix sockets."""

    TRUST = "trust"
    SCRAM = "scram-sha-256"
    CERT = "cert"
    """By the certificate that they come through TLS with: its common name is the user."""


class ClientCert(StrEnum):
    """What is asked of a client's certificate, in the words of pg_hba.conf. One that is sent is always verified."""

    OPTIONAL = "optional"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class TlsVersion(StrEnum):
    """Versions of TLS that are safe."""

    TLS_1_2 = "TLSv1.2"
    TLS_1_3 = "TLSv1.3"


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
class ClientsTls:
    """TLS for applications, negotiated (SSLRequest) or direct. Files are PEM, and read again when they change."""

    __pydantic_config__: ClassVar = FORBID
    cert_file: str
    key_file: str
    ca_file: str | None = None
    client_cert: ClientCert = ClientCert.OPTIONAL
    required: bool = False
    min_version: TlsVersion = TlsVersion.TLS_1_2

    def __post_init__(self) -> None:
        if self.ca_file is None and self.client_cert is not ClientCert.OPTIONAL:
            raise ValueError(f"client_cert {self.client_cert.value} needs ca_file: whose certificates are good")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientsListener:
    """Where applications connect with the PostgreSQL protocol."""

    __pydantic_config__: ClassVar = FORBID
    host: str = "127.0.0.1"
    port: Port = 6432
    unix_socket_dir: str | None = None
    tls: ClientsTls | None = None


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
    password: str | None = field(default=None, repr=False)
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
class Retry:
    """Send one autocommit statement again that PostgreSQL refused with a deadlock or a serialization failure."""

    __pydantic_config__: ClassVar = FORBID
    mode: PolicyMode = PolicyMode.ENFORCE
    attempts: Annotated[int, Interval(ge=1, le=2)] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One named set of servers with its own limit, queue and policy."""

    __pydantic_config__: ClassVar = FORBID
    size: Annotated[int, Interval(ge=1, le=10_000)] = 20
    min_idle: Annotated[int, Interval(ge=0, le=10_000)] = 0
    mode: PoolMode = PoolMode.TRANSACTION
    wait_timeout: Seconds = 10.0
    max_waiting: Annotated[int, Interval(ge=0, le=100_000)] = 500
    policy: str = "app"
    max_lifetime: Seconds = 3600.0
    idle_timeout: Seconds = 600.0
    prepared_statements: Annotated[int, Interval(ge=0, le=10_000)] = 200
    on_session_state: OnSessionState = OnSessionState.PIN
    role: str | None = None
    application_name: str | None = None
    upstream: Upstream | None = None
    retry: Retry | None = None
    lanes: Lanes = ()

    def __post_init__(self) -> None:
        if self.min_idle > self.size:
            raise ValueError(f"min_idle {self.min_idle} is above size {self.size}")
        check_lanes(self.lanes, one_transaction=self.mode is PoolMode.TRANSACTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a route looks at: globs over what the client said at login, and a statement. Keys are ANDed.

    With *statement* it is a route of transactions, searched for in the first statement of each; else one of sessions.
    """

    __pydantic_config__: ClassVar = FORBID
    application_name: str | None = None
    user: str | None = None
    database: str | None = None
    statement: Expression | None = None

    def __post_init__(self) -> None:
        if (self.application_name, self.user, self.database, self.statement) == (None, None, None, None):
            raise ValueError("match is empty: give application_name, user, database or statement")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Send the sessions (or, with *statement*, transactions) that match to *pool*. The first that matches wins."""

    __pydantic_config__: ClassVar = FORBID
    match: Match
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Elector:
    """The old leader-elector's interface: poolguard campaigns by itself, and tells who leads."""

    __pydantic_config__: ClassVar = FORBID
    election: LeaseName
    holder: str = ""
    check_url: str | None = None
    host: str = "127.0.0.1"
    port: Port = 4040


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """The lease API, on connections that no pool shares."""

    __pydantic_config__: ClassVar = FORBID
    enabled: bool = True
    connections: Annotated[int, Interval(ge=1, le=16)] = 2
    schema: Name = "poolguard"
    create_schema: bool = True
    default_ttl: Annotated[Seconds, Interval(ge=2, le=86400)] = 15.0
    listen: bool = True
    failover_grace: bool = True
    elector: Elector | None = None

    @property
    def most_connections(self) -> int:
        """How many connections to PostgreSQL leases ever have."""
        return self.connections + self.listen if self.enabled else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """The lock graph: one connection that looks at who waits for whose lock."""

    __pydantic_config__: ClassVar = FORBID
    enabled: bool = True
    interval: Annotated[Seconds, Interval(ge=1, le=60)] = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where incidents are sent as they come, by HTTP POST."""

    __pydantic_config__: ClassVar = FORBID
    url: str | None = None
    secret: str | None = field(default=None, repr=False)
    secret_file: str | None = None
    timeout: Annotated[Seconds, Interval(gt=0, le=60)] = 5.0
    repeat_after: Seconds = 60.0

    def __post_init__(self) -> None:
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("url must begin with http:// or https://")
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("give only one of secret and secret_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesEvents:
    """Events on the pod, for what ended something and for pools that were exhausted."""

    __pydantic_config__: ClassVar = FORBID
    enabled: bool = False
    timeout: Annotated[Seconds, Interval(gt=0, le=60)] = 5.0
    repeat_after: Seconds = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Incidents:
    """Who is told of incidents, besides the log and the API."""

    __pydantic_config__: ClassVar = FORBID
    webhook: Webhook = field(default_factory=Webhook)
    kubernetes: KubernetesEvents = field(default_factory=KubernetesEvents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What is shown of what clients say."""

    __pydantic_config__: ClassVar = FORBID
    statement_text: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what clients can make poolguard hold."""

    __pydantic_config__: ClassVar = FORBID
    max_clients: Annotated[int, Interval(ge=1, le=1_000_000)] = 5000
    max_logins: Annotated[int, Interval(ge=1, le=1_000_000)] = 1000
    login_timeout: Seconds = 15.0
    unread_timeout: Seconds = 300.0
    max_replication: Annotated[int, Interval(ge=0, le=1000)] = 4
    max_cancels: Annotated[int, Interval(ge=1, le=10_000)] = 16
    message_bytes: Bytes = 256 * 1024**2
    buffer_bytes: Bytes = 256 * 1024
    statements_per_client: Annotated[int, Interval(ge=1, le=100_000)] = 1000
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
    observer: Observer = field(default_factory=Observer)
    foreign_blockers: ForeignBlockers = field(default_factory=ForeignBlockers)
    incidents: Incidents = field(default_factory=Incidents)
    privacy: Privacy = field(default_factory=Privacy)
    limits: Limits = field(default_factory=Limits)
    log: Log = field(default_factory=Log)
