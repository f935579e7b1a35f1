"""The listeners of all pools."""

from collections.abc import Awaitable, Callable
from typing import Final

from poolguard.aio.tasks import TaskOwner
from poolguard.pool.pool import Pool
from poolguard.relay.counters import RelayCounters
from poolguard.relay.listener import Listener
from poolguard.relay.server import Server
from poolguard.settings.model import PoolMode
from poolguard.upstream.link import Link


class Listeners:
    """One for each pool, also for those of mode `session`: a reload can change the mode."""

    def __init__(self, tasks: TaskOwner, counters: RelayCounters) -> None:
        self._tasks: Final = tasks
        self._counters: Final = counters
        self._listeners: dict[Pool[Server], Listener] = {}

    def add(self, pool: Pool[Server], opener: Callable[[], Awaitable[Link]]) -> None:
        """Have one for *pool*, which *opener* opens when it is needed."""
        self._listeners[pool] = Listener(
            pool.name, lambda: pool.settings, opener, tasks=self._tasks, counters=self._counters
        )

    def of(self, pool: Pool[Server]) -> Listener | None:
        """Who hears for the sessions of *pool*; None: each listens in its own server, as in mode `session`."""
        return self._listeners.get(pool) if pool.settings.mode is PoolMode.TRANSACTION else None

    def tend(self) -> None:
        """Once a second."""
        for listener in self._listeners.values():
            listener.tend()

    def renew(self, pool: Pool[Server]) -> None:
        """The PostgreSQL of *pool* is another one from now on."""
        self._listeners[pool].renew()

    def drop(self, pool: Pool[Server]) -> None:
        """*pool* is gone."""
        self._listeners.pop(pool).stop()

    def stop(self) -> None:
        """Close them all."""
        for listener in self._listeners.values():
            listener.stop()
