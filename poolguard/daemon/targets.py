"""Where each pool's PostgreSQL is: worked out once per load of the settings, because that reads files."""

from collections.abc import Mapping

from poolguard.settings.model import Pool, Settings, Upstream
from poolguard.upstream.target import Target, resolve_target


def password_for(there: Target, latest: Target) -> str | None:
    """The password for who stays with *there* although the settings say *latest* by now: a new one, unless that is
    of another PostgreSQL."""
    same = there.conninfo(password="") == latest.conninfo(password="")
    return (latest if same else there).password


class Targets:
    """The targets of one Settings."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """Resolve all. Raises SettingsError that says what to do. Blocks for as long as reading small files takes."""
        self._default = settings.upstream
        wanted = {settings.upstream, *(pool.upstream for pool in settings.pools.values() if pool.upstream)}
        self._targets: dict[Upstream, Target] = {upstream: resolve_target(upstream, environ) for upstream in wanted}

    def of(self, pool: Pool) -> Target:
        """Where *pool*'s servers are opened."""
        return self._targets[pool.upstream or self._default]

    @property
    def default(self) -> Target:
        """Where leases live."""
        return self._targets[self._default]
