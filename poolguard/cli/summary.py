"""Settings in a few lines, for people: what would run, and on which PostgreSQL."""

from collections.abc import Mapping

from poolguard.core.errors import SettingsError
from poolguard.settings.check import OBSERVER_CONNECTIONS
from poolguard.settings.loaded import Loaded
from poolguard.settings.model import Pool, Settings, Upstream
from poolguard.upstream.target import resolve_target


def summary(loaded: Loaded, environ: Mapping[str, str]) -> list[str]:
    """Lines that say what *loaded* amounts to. Raises SettingsError for a URL that can't be used.

    That nothing says where PostgreSQL is, is no fault of the file: a file is also checked where it won't run.
    """
    settings = loaded.settings
    listen = settings.listen
    own = [(f"pools.{name}.upstream", pool.upstream) for name, pool in settings.pools.items() if pool.upstream]
    lines = [f"OK: {loaded.source}, settings {loaded.hash}"]
    lines += [
        f"  {'PostgreSQL' if path == 'upstream' else path}: {_target(loaded.source, path, upstream, environ)}"
        for path, upstream in [("upstream", settings.upstream), *own]
    ]
    lines += [
        f"  clients: {listen.clients.host}:{listen.clients.port}, auth {settings.auth.method.value}",
        f"  control: {listen.control.host}:{listen.control.port}, metrics: {listen.metrics.host}:{listen.metrics.port}",
        f"  pools: {', '.join(_pool(name, pool) for name, pool in settings.pools.items())}",
        f"  any other database name: {settings.default_pool}; routes: {len(settings.routes)}",
        f"  connections to PostgreSQL at most: {_connections(settings)}",
    ]
    return lines


def _target(source: str, path: str, upstream: Upstream, environ: Mapping[str, str]) -> str:
    try:
        return str(resolve_target(upstream, environ))
    except SettingsError as error:
        text = error.message.removeprefix("upstream: ")
        if not upstream.url:
            return f"not known here, so run would refuse to start ({text})"
        raise SettingsError(f"{source}: {path}: {text}", detail=error.detail, hint=error.hint) from None


def _pool(name: str, pool: Pool) -> str:
    return f"{name} {pool.size} ({pool.mode.value}, policy {pool.policy})"


def _connections(settings: Settings) -> str:
    pools = sum(pool.size for pool in settings.pools.values())
    leases = settings.leases.most_connections
    total = pools + leases + OBSERVER_CONNECTIONS
    return f"{total} ({pools} in pools, {leases} for leases, {OBSERVER_CONNECTIONS} to observe)"
