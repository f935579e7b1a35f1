"""libpq's connection strings (URI and keyword/value) and PG* variables, read into keywords and written back.

Pure. Rules: PostgreSQL docs, 34.1.1 (Connection Strings), 34.1.2 (Parameter Key Words), 34.15 (Environment
Variables), and src/interfaces/libpq/fe-connect.c. No error shows any part of a string that may hold a password.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from poolguard.core.errors import SettingsError

HONOURED: Final = frozenset({
    "host", "hostaddr", "port", "dbname", "user", "password", "passfile", "channel_binding",
    "connect_timeout", "client_encoding", "options", "application_name", "fallback_application_name",
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
    "sslmode", "sslnegotiation", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl",
    "sslcrldir", "sslsni", "ssl_min_protocol_version", "ssl_max_protocol_version",
    "target_session_attrs", "max_protocol_version",
})  # fmt: skip
_HARMLESS: Final = {
    "gssencmode": {"disable", "prefer"},
    "krbsrvname": None,
    "gsslib": None,
    "gssdelegation": {"0"},
    "sslcompression": {"0"},
    "sslcertmode": {"allow"},
    "load_balance_hosts": {"disable"},
    "min_protocol_version": {"3.0"},
    "requirepeer": {""},
    "require_auth": {""},
    "replication": {"", "false", "off", "no", "0"},
    "service": {""},
}
"""Known keywords that change nothing here; with other values than these (None: any) they are refused, because
the operator asked for something that would silently not happen."""

_VARIABLES: Final = {
    "PGHOST": "host", "PGHOSTADDR": "hostaddr", "PGPORT": "port", "PGDATABASE": "dbname", "PGUSER": "user",
    "PGPASSWORD": "password", "PGPASSFILE": "passfile", "PGCHANNELBINDING": "channel_binding",
    "PGOPTIONS": "options", "PGAPPNAME": "application_name", "PGCLIENTENCODING": "client_encoding",
    "PGSSLMODE": "sslmode", "PGSSLNEGOTIATION": "sslnegotiation", "PGSSLCERT": "sslcert", "PGSSLKEY": "sslkey",
    "PGSSLROOTCERT": "sslrootcert", "PGSSLCRL": "sslcrl", "PGSSLCRLDIR": "sslcrldir", "PGSSLSNI": "sslsni",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version", "PGTARGETSESSIONATTRS": "target_session_attrs",
    "PGMAXPROTOCOLVERSION": "max_protocol_version", "PGGSSENCMODE": "gssencmode", "PGREQUIREPEER": "requirepeer",
    "PGREQUIREAUTH": "require_auth", "PGSSLCERTMODE": "sslcertmode", "PGLOADBALANCEHOSTS": "load_balance_hosts",
    "PGMINPROTOCOLVERSION": "min_protocol_version", "PGSERVICE": "service",
}  # fmt: skip
"""PGCONNECT_TIMEOUT is not here: upstream.connect_timeout always has a value."""

_SESSION_VARIABLES: Final = {"PGDATESTYLE": "datestyle", "PGTZ": "timezone", "PGGEQO": "geqo"}
"""These are no keywords of a connection string: libpq sends them as startup parameters."""

_FOREIGN: Final = {
    "schema": "Prisma's", "connection_limit": "Prisma's", "pool_timeout": "Prisma's", "pgbouncer": "Prisma's",
    "statement_cache_size": "Prisma's", "socket_timeout": "Prisma's", "sslaccept": "Prisma's",
    "pool_max_conns": "pgx's", "pool_min_conns": "pgx's", "default_query_exec_mode": "pgx's",
    "serverversion": "Doctrine's", "charset": "Doctrine's", "prepared_statements": "Rails'", "pool": "Rails'",
    "currentschema": "JDBC's", "preparethreshold": "JDBC's", "prepared_statement_cache_size": "asyncpg's",
}  # fmt: skip

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}")
_SCHEMES: Final = ("postgresql://", "postgres://")


def parse_conninfo(text: str) -> dict[str, str]:
    """Read a connection string into keywords. Empty values stay: they mean "the default, whatever PG* say".

    Raises SettingsError that says what to write.
    """
    text = text.strip()
    if text.startswith(_SCHEMES):
        keywords = _parse_uri(text.partition("://")[2])
    elif "://" in text:
        raise SettingsError(
            "upstream.url: the scheme is not postgresql://",
            hint="Write postgresql://user@host:5432/database, without a driver's name in the scheme.",
        )
    else:
        keywords = _parse_pairs(text)
    check_keywords(keywords, "upstream.url")
    return keywords


def keywords_of_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Give what PG* variables say, by keyword. An empty variable counts as unset. Raises SettingsError."""
    keywords = {keyword: environ[name] for name, keyword in _VARIABLES.items() if environ.get(name)}
    check_keywords(keywords, "PG* variables")
    return keywords


def session_defaults(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the startup parameters that PGDATESTYLE, PGTZ and PGGEQO ask for."""
    return {name: environ[variable] for variable, name in _SESSION_VARIABLES.items() if environ.get(variable)}


def check_keywords(keywords: Mapping[str, str], where: str) -> None:
    """Raise SettingsError for all keywords that are unknown, or ask for what poolguard can't do."""
    problems = []
    for keyword, value in keywords.items():
        if keyword in HONOURED:
            continue
        if keyword in _HARMLESS:
            allowed = _HARMLESS[keyword]
            if allowed is not None and value not in allowed:
                usable = " or ".join(repr(choice) for choice in sorted(allowed))
                problems.append(f"{where}: {keyword} can't be honoured; leave it out (or write {usable})")
        else:
            problems.append(f"{where}: {_unknown(keyword)}")
    if problems:
        raise SettingsError("\n".join(problems))


def _unknown(keyword: str) -> str:
    if not _WORD.fullmatch(keyword):
        # Might be a piece of a password whose special characters were not percent-encoded.
        return "a parameter has a malformed name; percent-encode special characters in values (@ is %40, & is %26)"
    if owner := _FOREIGN.get(keyword.lower()):
        return f"unknown parameter {keyword!r}: it is {owner}; give it in the application's own URL, not here"
    return f"unknown parameter {keyword!r}: leave it out; libpq's names are known here, in lower case"


def _parse_uri(rest: str) -> dict[str, str]:
    keywords: dict[str, str] = {}
    rest, question, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    if "@" in credentials:
        raise SettingsError("upstream.url: more than one @ before the host", hint="Write an @ in a password as %40.")
    if at:
        user, colon, password = credentials.partition(":")
        if user:
            keywords["user"] = _decode(user, "user")
        if colon and password:
            keywords["password"] = _decode(password, "password")
    names, ports = zip(*map(_split_host, hosts.split(",")), strict=True)
    if any(names):
        keywords["host"] = ",".join(_decode(name, "host") for name in names)
    if any(ports):
        keywords["port"] = ",".join(ports)
    if path:
        keywords["dbname"] = _decode(path, "database")
    for pair in query.split("&") if question and query else []:
        keyword, equals, value = pair.partition("=")
        if not equals or "=" in value:
            raise SettingsError(
                "upstream.url: a parameter behind ? is not name=value", hint="Write a = inside of a value as %3D."
            )
        keyword, value = _decode(keyword, "a parameter"), _decode(value, "a parameter")
        if (keyword, value) == ("ssl", "true"):
            keyword, value = "sslmode", "require"  # as libpq does, for JDBC's sake
        keywords[keyword] = value
    return keywords


def _split_host(text: str) -> tuple[str, str]:
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise SettingsError("upstream.url: malformed IPv6 address", hint="Write [::1]:5432.")
        return name, port[1:]
    name, _, port = text.partition(":")
    return name, port


def _decode(text: str, what: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text) or "%00" in text:
        raise SettingsError(f"upstream.url: malformed percent-encoding in {what}", hint="Write a % in a value as %25.")
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise SettingsError(f"upstream.url: {what} is not UTF-8 once decoded") from None


_PAIR: Final = re.compile(
    r"""\s*(?P<keyword>[^\s=]+)\s*=\s*
    (?:'(?P<quoted>(?:[^'\\]|\\.)*)'(?=\s|$)|(?P<plain>(?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*)?(?=\s|$))""",
    re.VERBOSE | re.DOTALL,
)


def _parse_pairs(text: str) -> dict[str, str]:
    keywords: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None:
            raise SettingsError(
                "upstream.url: neither a URI nor keyword=value pairs",
                hint="Write postgresql://user@host:5432/database, or host=... dbname=... user=...; a value with"
                " spaces goes in single quotes.",
            )
        raw = match["quoted"] if match["quoted"] is not None else match["plain"] or ""
        keywords[match["keyword"]] = re.sub(r"\\(.)", r"\1", raw, flags=re.DOTALL)
        at = match.end()
    return keywords


def write_conninfo(keywords: Mapping[str, str]) -> str:
    """Write keyword/value pairs that libpq, and `parse_conninfo`, read back. May hold the password."""
    return " ".join(
        "{}='{}'".format(keyword, re.sub(r"(['\\])", r"\\\1", value)) for keyword, value in keywords.items()
    )
