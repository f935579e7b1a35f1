"""All pools, which session goes to which, and what a reload does to them."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Generic, TypeVar

from poolguard.core.clock import Clock
from poolguard.pool.pool import Pool, PooledServer
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.settings.model import Match, Route
from poolguard.settings.model import Pool as PoolSettings

S = TypeVar("S", bound=PooledServer)


def fits(match: Match, *, database: str, user: str, application_name: str) -> bool:
    """Whether a session is one that *match* means, as far as its login tells."""
    return (
        (match.application_name is None or fnmatchcase(application_name, match.application_name))
        and (match.user is None or fnmatchcase(user, match.user))
        and (match.database is None or fnmatchcase(database, match.database))
    )


def choose_pool(
    *,
    database: str,
    user: str,
    application_name: str,
    pools: Iterable[str],
    routes: Iterable[Route],
    default_pool: str,
) -> str:
    """The pool of a session: the first route that matches, else its database's name, else the default.

    Routes that look at statements choose for single transactions, not here.
    """
    for route in routes:
        if route.match.statement is None and fits(
            route.match, database=database, user=user, application_name=application_name
        ):
            return route.pool
    return database if database in pools else default_pool


class Registry(Generic[S]):
    """The pools by name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.pools: dict[str, Pool[S]] = {}

    def add(self, pool: Pool[S]) -> None:
        """Take *pool* in. Its name must be new."""
        assert pool.name not in self.pools, f"pool {pool.name!r} is there already"
        self.pools[pool.name] = pool

    def apply(self, wanted: dict[str, PoolSettings], make: Callable[[str, PoolSettings], Pool[S]]) -> list[Pool[S]]:
        """After a reload: add new pools, resize those that stay; returned are those that went: the caller ends them."""
        for name, settings in wanted.items():
            if name in self.pools:
                self.pools[name].resize(settings)
            else:
                self.add(make(name, settings))
        return [self.pools.pop(name) for name in list(self.pools) if name not in wanted]

    def maintain(self) -> None:
        """Once a second."""
        now = self._clock.monotonic()
        for pool in self.pools.values():
            pool.maintain(now)

    def snapshots(self) -> list[PoolSnapshot]:
        """Every pool at this moment, in the order of the settings."""
        now = self._clock.monotonic()
        return [pool.snapshot(now) for pool in self.pools.values()]

    def stop(self) -> None:
        """Close everything."""
        for pool in self.pools.values():
            pool.stop()
