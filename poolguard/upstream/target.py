"""Where PostgreSQL is and who we are there: `Target`, worked out of the settings, PG* variables and files.

`build_target` is pure; `resolve_target` reads the files and calls it.
"""

import logging
import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from poolguard.core.errors import SettingsError
from poolguard.settings.model import Upstream
from poolguard.upstream.conninfo import keywords_of_environment, parse_conninfo, session_defaults, write_conninfo
from poolguard.upstream.endpoint import DEFAULT_PORT, Endpoint, Keepalive, SessionAttrs
from poolguard.upstream.passfile import PassEntry, find_password, parse_passfile
from poolguard.upstream.tls import FILE_KEYWORDS, SslMode, TlsSettings, default_files, read_tls_settings
from poolguard.wire.scram_client import ChannelBinding

log = logging.getLogger(__name__)

_SOCKET_DIRS: Final = ("/var/run/postgresql", "/run/postgresql", "/tmp")  # noqa: S108 - where PostgreSQL puts its socket

_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Everything that opening a link needs. Equal targets lead to the same server as the same user."""

    endpoints: tuple[Endpoint, ...]
    user: str
    database: str
    tls: TlsSettings
    channel_binding: ChannelBinding = ChannelBinding.PREFER
    connect_timeout: float = 5.0
    """Seconds for one link: all endpoints, TLS and login together."""
    parameters: tuple[tuple[str, str], ...] = ()
    """What the operator wants said at startup: options, application_name, client_encoding ..."""
    keepalive: Keepalive = field(default_factory=Keepalive)
    session_attrs: SessionAttrs = SessionAttrs.ANY
    protocol_minor: int = 0
    """Highest minor version to ask for. 3.0 as libpq does, since some poolers and proxies refuse any other."""
    keywords: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """The libpq keywords that this was made of, all but the timeout."""

    def __str__(self) -> str:
        return f"{self.user}@{','.join(map(str, self.endpoints))}/{self.database}"

    @property
    def password(self) -> str | None:
        """The password, if there is one and it is the same everywhere."""
        passwords = {endpoint.password for endpoint in self.endpoints} - {None}
        return passwords.pop() if len(passwords) == 1 else None

    def conninfo(self, **overrides: str) -> str:
        """Say the same to libpq (psycopg), with *overrides*. Holds the password: not for logs."""
        keywords = dict(self.keywords)
        if self.password is not None:
            keywords["password"] = self.password
        # libpq counts in whole seconds, for each host, and takes 1 as 2.
        keywords["connect_timeout"] = str(max(2, round(self.connect_timeout)))
        return write_conninfo(keywords | overrides)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the machine adds to settings and variables."""

    os_user: str = ""
    home: str = ""
    """Empty if there is none; ~/.postgresql is looked for in it."""
    existing: frozenset[str] = frozenset()
    """Which of the default files of TLS exist."""
    password: str | None = field(default=None, repr=False)
    """From upstream.password_file."""
    pass_entries: tuple[PassEntry, ...] = ()
    default_host: str = ""
    """The folder of the Unix socket that is used when no host is named."""
    session_defaults: tuple[tuple[str, str], ...] = ()
    """Startup parameters from PGDATESTYLE, PGTZ and PGGEQO."""


def build_target(keywords: Mapping[str, str], connect_timeout: float, around: Surroundings) -> Target:
    """Make a target of *keywords*, in which settings already go before variables. Raises SettingsError."""
    given = {name: value for name, value in keywords.items() if value}
    user = given.get("user") or around.os_user
    if not user:
        raise SettingsError("upstream: no user is named", hint="Put it into upstream.url, or set PGUSER.")
    database = given.get("dbname") or user
    endpoints = _endpoints(given, user, database, around)
    tls = read_tls_settings(given, home=around.home, existing=around.existing)
    if tls.mode is SslMode.VERIFY_FULL and any(not (e.host or e.is_unix) for e in endpoints):
        raise SettingsError("upstream: sslmode=verify-full needs a host name", hint="Give host beside hostaddr.")
    hosts = ",".join(endpoint.host for endpoint in endpoints)
    explicit = {"user": user, "dbname": database, "port": ",".join(str(e.port) for e in endpoints)}
    return Target(
        endpoints=endpoints,
        user=user,
        database=database,
        tls=tls,
        channel_binding=_choice(given, "channel_binding", ChannelBinding, ChannelBinding.PREFER),
        # 0 and less mean "wait for ever" to libpq: never wanted here.
        connect_timeout=float(_number(given, "connect_timeout", 0)) or connect_timeout,
        parameters=_startup_parameters(given, around),
        keepalive=Keepalive(
            enabled=_number(given, "keepalives", 1) != 0,
            idle_seconds=_number(given, "keepalives_idle", Keepalive().idle_seconds),
            interval_seconds=_number(given, "keepalives_interval", Keepalive().interval_seconds),
            count=_number(given, "keepalives_count", Keepalive().count),
            user_timeout_ms=_number(given, "tcp_user_timeout", Keepalive().user_timeout_ms),
        ),
        session_attrs=_choice(given, "target_session_attrs", SessionAttrs, SessionAttrs.ANY),
        protocol_minor=_protocol_minor(given),
        keywords=tuple((given | explicit | tls.keywords() | ({"host": hosts} if hosts.strip(",") else {})).items()),
    )


def _endpoints(given: Mapping[str, str], user: str, database: str, around: Surroundings) -> tuple[Endpoint, ...]:
    hosts = [host.strip() for host in given.get("host", "").split(",")]
    addresses = given.get("hostaddr", "").split(",")
    if "host" in given and "hostaddr" in given and len(hosts) != len(addresses):
        raise SettingsError(f"upstream: {len(hosts)} hosts but {len(addresses)} hostaddrs: give one for each")
    count = max(len(hosts), len(addresses))
    hosts, addresses = (names if len(names) == count else [""] * count for names in (hosts, addresses))
    ports = given.get("port", "").split(",")
    if len(ports) not in {1, count}:
        raise SettingsError(f"upstream: {len(ports)} ports for {count} hosts: give one for all, or one for each")
    endpoints = []
    for host, address, port_text in zip(hosts, addresses, ports * (count // len(ports)), strict=True):
        port = int(port_text) if port_text.isascii() and port_text.isdigit() else 0 if port_text else DEFAULT_PORT
        if not 1 <= port <= 65535:
            raise SettingsError("upstream: a port is not a number in 1..65535")
        name = host or ("" if address else around.default_host)
        default_socket = name == around.default_host != ""
        password = given.get("password") or around.password
        password = password or find_password(
            # In the file, the default folder of the Unix socket is written as localhost.
            around.pass_entries,
            host="localhost" if default_socket else name or address,
            port=port,
            database=database,
            user=user,
        )
        endpoints.append(Endpoint(host=name, hostaddr=address, port=port, password=password))
    return tuple(endpoints)


def _startup_parameters(given: Mapping[str, str], around: Surroundings) -> tuple[tuple[str, str], ...]:
    parameters = dict(around.session_defaults)
    parameters |= {name: given[name] for name in ("options", "client_encoding") if name in given}
    if parameters.get("client_encoding") == "auto":
        raise SettingsError("upstream: client_encoding=auto can't be honoured: name one, for example UTF8")
    application = given.get("application_name") or given.get("fallback_application_name")
    return tuple((parameters | ({"application_name": application} if application else {})).items())


def _protocol_minor(given: Mapping[str, str]) -> int:
    versions = {"": 0, "3.0": 0, "3.2": 2, "latest": 2}
    wanted = given.get("max_protocol_version", "")
    if wanted not in versions:
        raise SettingsError("upstream: max_protocol_version is not 3.0, 3.2 or latest")
    return versions[wanted]


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default)).strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise SettingsError(f"upstream: {name} is not a whole number of at most 9 digits")
    return int(text)


def _choice(given: Mapping[str, str], name: str, kind: type[_Choice], default: _Choice) -> _Choice:
    try:
        return kind(given.get(name, default.value))
    except ValueError:
        raise SettingsError(f"upstream: {name} is not one of {', '.join(kind)}") from None


def resolve_target(upstream: Upstream, environ: Mapping[str, str]) -> Target:
    """Work out the target: settings, then PG* variables, then password file and defaults. Reads files: call it at
    start and reload, not on the hot path. Raises SettingsError that says what to do and holds no secret.
    """
    from_settings = parse_conninfo(upstream.url) if upstream.url.strip() else {}
    from_variables = keywords_of_environment(environ)
    if not from_settings and not from_variables.keys() & {"host", "hostaddr"}:
        raise SettingsError(
            "upstream: nothing says where PostgreSQL is", hint="Set DATABASE_URL, upstream.url, or PGHOST."
        )
    if upstream.password_file and from_settings.get("password"):
        raise SettingsError("upstream: both url and password_file give a password", hint="Take it out of the URL.")
    keywords = {**from_variables, **from_settings}
    if upstream.password_file:
        keywords.pop("password", None)
    home = environ.get("HOME", "").rstrip("/")
    wanted = {*default_files(home).values(), *(keywords.get(name, "") for name in FILE_KEYWORDS)} - {""}
    around = Surroundings(
        os_user="" if keywords.get("user") else _os_user(),
        home=home,
        existing=frozenset(path for path in wanted if Path(path).exists()),
        password=_read_password(upstream.password_file) if upstream.password_file else None,
        pass_entries=_read_passfile(keywords.get("passfile") or (f"{home}/.pgpass" if home else "")),
        default_host=next((path for path in _SOCKET_DIRS if Path(path).is_dir()), _SOCKET_DIRS[-1]),
        session_defaults=tuple(session_defaults(environ).items()),
    )
    return build_target(keywords, upstream.connect_timeout, around)


def _os_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container's user often has no name.
        return ""


def _read_password(path: str) -> str:
    try:
        password = Path(path).read_text(encoding="utf-8", errors="surrogateescape").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"upstream.password_file: {path}: {error.strerror}") from None
    if not password or "\0" in password:
        raise SettingsError(f"upstream.password_file: {path} holds no password")
    return password


def _read_passfile(path: str) -> tuple[PassEntry, ...]:
    try:
        status = Path(path).stat()
        if not path or not stat.S_ISREG(status.st_mode):
            return ()
        if status.st_mode & 0o077:
            # libpq's rule, and its reaction: the file is ignored.
            log.warning("password file has group or world access and is ignored", extra={"path": path})
            return ()
        return parse_passfile(Path(path).read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:
        return ()
