"""Rules over several settings at once, and warnings about what is allowed but seldom meant. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from poolguard.core.loopback import is_loopback
from poolguard.settings.expressions import reach
from poolguard.settings.model import AuthMethod, PoolMode, Settings
from poolguard.settings.policies import LADDERS, Policy
from poolguard.settings.problems import Path, did_you_mean

POSTGRES_DEFAULT_CONNECTIONS: Final = 97
"""max_connections (100) less superuser_reserved_connections (3), PostgreSQL's defaults."""

OBSERVER_CONNECTIONS: Final = 1

SHORT_SIGHT: Final = 500
"""Characters; what a regular expression looks for in a statement often stands behind fewer."""

CONSOLE: Final = "poolguard"
"""The database name that leads to the console, and to no pool."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, or to be warned of, and at which setting. The place is found by whoever has the file."""

    path: Path
    text: str


def find_problems(settings: Settings) -> list[Finding]:
    """Everything that makes *settings*, each value of which is good in itself, unusable."""
    return [
        *find_unknown_names(names_of(settings)),
        *_console(settings),
        *_statement_routes(settings),
        *_trust(settings),
        *_cert(settings),
        *_ports(settings),
        *_secrets(settings),
    ]


def find_warnings(settings: Settings) -> list[Finding]:
    """What works and may surprise. Shown by check-config and logged at start."""
    return [*_connections(settings), *_open_control(settings), *_useless(settings), *_short_sight(settings)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Who refers to whom, also in settings that are not good enough for the model. None: not known."""

    pools: Mapping[str, str | None]
    """Pool to policy."""
    policies: Sequence[str]
    default_pool: str | None
    routes: Sequence[str | None]


def names_of(settings: Settings) -> Names:
    """The names in *settings*."""
    return Names(
        pools={name: pool.policy for name, pool in settings.pools.items()},
        policies=list(settings.policies),
        default_pool=settings.default_pool,
        routes=[route.pool for route in settings.routes],
    )


def find_unknown_names(names: Names) -> Iterator[Finding]:
    """Every name that nothing has."""
    pools = list(names.pools)
    if not pools:
        yield Finding(("pools",), "names no pool: name at least one, or remove the key to get election, jobs and app")
        return
    for name, policy in names.pools.items():
        if policy is not None and policy not in names.policies:
            text = f"no policy is named {policy!r}; {did_you_mean(policy, names.policies)}"
            yield Finding(("pools", name, "policy"), text)
    if names.default_pool is not None and names.default_pool not in pools:
        yield Finding(("default_pool",), _no_pool(names.default_pool, pools))
    for index, pool in enumerate(names.routes):
        if pool is not None and pool not in pools:
            yield Finding(("routes", index, "pool"), _no_pool(pool, pools))


def _no_pool(name: str, pools: Sequence[str]) -> str:
    return f"no pool is named {name!r}; {did_you_mean(name, pools)}"


def _console(settings: Settings) -> Iterator[Finding]:
    if CONSOLE in settings.pools:
        yield Finding(
            ("pools", CONSOLE), f"{CONSOLE!r} is the database name of the console: give the pool another name"
        )


def _statement_routes(settings: Settings) -> Iterator[Finding]:
    for index, route in enumerate(settings.routes):
        pool = settings.pools.get(route.pool)
        if route.match.statement is None or pool is None:
            continue
        if pool.mode is not PoolMode.TRANSACTION or not pool.prepared_statements:
            text = (
                f"pool {route.pool!r} can't take single transactions of others: it needs mode transaction, "
                "and prepared_statements above 0"
            )
            yield Finding(("routes", index, "pool"), text)


def _trust(settings: Settings) -> Iterator[Finding]:
    host = settings.listen.clients.host
    if settings.auth.method is AuthMethod.TRUST and not is_loopback(host):
        text = (
            f"auth.method is trust and {host or 'an empty host'} is not loopback, so anybody on the network "
            "could log in: write 127.0.0.1 here, or auth.method: scram-sha-256 with auth.users"
        )
        yield Finding(("listen", "clients", "host"), text)


def _cert(settings: Settings) -> Iterator[Finding]:
    tls = settings.listen.clients.tls
    if settings.auth.method is AuthMethod.CERT and (tls is None or tls.ca_file is None):
        text = "cert needs listen.clients.tls with ca_file: whose certificates say who a client is"
        yield Finding(("auth", "method"), text)


def _ports(settings: Settings) -> Iterator[Finding]:
    listen = settings.listen
    named = (
        ("clients", listen.clients.port),
        ("control", listen.control.port),
        ("metrics", listen.metrics.port),
    )
    taken: dict[int, str] = {}
    for name, port in named:
        if port and port in taken:
            yield Finding(("listen", name, "port"), f"{port} is listen.{taken[port]}.port too: give each its own")
        taken.setdefault(port, name)


def _secrets(settings: Settings) -> Iterator[Finding]:
    if settings.auth.admin_token and settings.auth.admin_token_file is not None:
        yield Finding(("auth", "admin_token_file"), "give only one of admin_token and admin_token_file")


def _connections(settings: Settings) -> Iterator[Finding]:
    shared = sum(pool.size for pool in settings.pools.values() if pool.upstream is None)
    leases = settings.leases.most_connections
    listening = sum(pool.upstream is None and pool.mode is PoolMode.TRANSACTION for pool in settings.pools.values())
    total = shared + listening + leases + OBSERVER_CONNECTIONS
    if total > POSTGRES_DEFAULT_CONNECTIONS:
        text = (
            f"the pools may open {shared} connections, with listening servers, leases and observer {total}: more "
            f"than the {POSTGRES_DEFAULT_CONNECTIONS} that PostgreSQL allows by default, and that for each poolguard "
            "that runs; compare with its max_connections"
        )
        yield Finding(("pools",), text)


def _open_control(settings: Settings) -> Iterator[Finding]:
    host = settings.listen.control.host
    tokens = settings.auth.admin_token or settings.auth.admin_token_file
    if not tokens and not is_loopback(host):
        text = (
            f"{host or 'an empty host'} is not loopback and there is no auth.admin_token: anybody on the "
            "network can end transactions"
        )
        yield Finding(("listen", "control", "host"), text)


def _useless(settings: Settings) -> Iterator[Finding]:
    if settings.auth.method is AuthMethod.TRUST and settings.auth.users:
        yield Finding(("auth", "users"), "has no effect while auth.method is trust")
    for name, policy in settings.policies.items():
        if not _does_something(policy):
            text = "has no rule, so nothing is watched: a policy given here replaces the default one as a whole"
            yield Finding(("policies", name), text)
    if settings.foreign_blockers.rules and not settings.observer.enabled:
        text = "has no effect while observer.enabled is false: nobody looks at locks"
        yield Finding(("foreign_blockers", "rules"), text)
    if not settings.observer.enabled:
        yield from _asks_for_locks(settings)
    used = {pool.policy for pool in settings.pools.values()}
    for name in _not_default(settings.policies):
        if name not in used:
            yield Finding(("policies", name), "no pool names this policy")


def _asks_for_locks(settings: Settings) -> Iterator[Finding]:
    text = "never acts while observer.enabled is false: nobody looks at locks, so nobody is known to wait"
    for name, policy in settings.policies.items():
        if policy == Settings().policies.get(name):
            continue  # nobody wrote that
        if policy.idle_blocker is not None:
            yield Finding(("policies", name, "idle_blocker"), text)
        for number, rule in enumerate(policy.rules):
            for key in {"blocking", "blocking_for"} & set(rule.when.keys()):
                yield Finding(("policies", name, "rules", number, "when", key), text)


def _short_sight(settings: Settings) -> Iterator[Finding]:
    for path, expression in _expressions(settings):
        if expression is not None and (size := reach(expression)) < SHORT_SIGHT:
            text = (
                f"with so many repeats, only the first {size} characters of a statement are looked at: "
                "anchor the expression with ^, or give it fewer of *, +, ? and |"
            )
            yield Finding(path, text)


def _expressions(settings: Settings) -> Iterator[tuple[Path, str | None]]:
    for number, route in enumerate(settings.routes):
        yield ("routes", number, "match", "statement"), route.match.statement
    for name, pool in settings.pools.items():
        for number, lane in enumerate(pool.lanes):
            yield ("pools", name, "lanes", number, "match", "statement"), lane.match.statement
    for name, policy in settings.policies.items():
        for number, rule in enumerate(policy.rules):
            yield ("policies", name, "rules", number, "when", "statement"), rule.when.statement


def _does_something(policy: Policy) -> bool:
    return bool(policy.rules) or any(getattr(policy, ladder) is not None for ladder in LADDERS)


def _not_default(policies: Mapping[str, Policy]) -> list[str]:
    return [name for name in policies if name not in Settings().policies]
