"""The few connections that leases have to themselves: opened first, always open, replaced when lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from poolguard.lease.connection import Fault, LeaseConnection, as_given, configure, fault_of, parameters, told

T = TypeVar("T")
log = logging.getLogger(__name__)

_GIVE_UP_SECONDS: Final = 2.0
"""psycopg-pool doubles the pause between attempts without a bound; after this long it is started anew: 1 s at most."""
_AWAY_PATIENCE_SECONDS: Final = 0.25
"""While PostgreSQL is known to be away, new requests are not kept waiting for it."""
_FOREVER: Final = 10 * 365 * 86_400.0
_CLOSE_SECONDS: Final = 2.0


class NoConnection(Exception):
    """None could be had in time. Nothing was sent."""


class AttemptTimeout(Exception):
    """It was sent, and took too long. Its connection is closed."""


class Line:
    """Connections, and what is known of PostgreSQL at the other end."""

    def __init__(self, conninfo: str, connections: int, password: Callable[[], str | None] = as_given) -> None:
        self._pool: Final = AsyncConnectionPool(
            parameters(conninfo),
            connection_class=LeaseConnection,
            kwargs={"on_refused": self._refused, "password_now": password},
            min_size=connections,
            max_size=connections,
            open=False,
            configure=self._configure,
            name="leases",
            # Closing a connection that works could mean not getting another: the server may be out of slots.
            max_lifetime=_FOREVER,
            reconnect_timeout=_GIVE_UP_SECONDS,
            reconnect_failed=self._start_anew,
        )
        self._away = False
        self._why = ""
        """What the latest attempt to connect failed with; empty since one succeeded."""
        self._timeline_told = False
        self.timeline = 0
        """WAL timeline of the newest connection; 0: it can't be read."""

    async def open(self) -> None:
        """Begin to connect; returns at once."""
        # It tells of every single request at INFO, and its warnings are told here with their fields.
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection; twice does no harm."""
        await self._pool.close(timeout=_CLOSE_SECONDS)

    async def use(self, work: Callable[[LeaseConnection], Awaitable[T]], *, wait_seconds: float, seconds: float) -> T:
        """Do *work* on a connection within *seconds*, after at most *wait_seconds* for getting it.

        Raises NoConnection, AttemptTimeout, psycopg.Error, and whatever *work* raises. A connection that may be unfit
        is closed.
        """
        connection = await self._get(wait_seconds)
        try:
            result = await self._bounded(work, connection, seconds)
        except psycopg.Error as error:
            if fault_of(error) in {Fault.GONE, Fault.READ_ONLY}:
                self._lost(told(error))
                await connection.close()
            raise
        else:
            self._away = False
            return result
        finally:
            await self._pool.putconn(connection)

    async def _get(self, wait_seconds: float) -> LeaseConnection:
        patience = min(wait_seconds, _AWAY_PATIENCE_SECONDS) if self._away else wait_seconds
        try:
            return await self._pool.getconn(timeout=patience)
        except PoolTimeout:
            self._lost(self._why or f"no connection within {patience:.2f}s")
            raise NoConnection(f"no connection to PostgreSQL{self._why and f': {self._why}'}") from None
        except PoolClosed:
            raise NoConnection("the leases are stopped") from None

    async def _bounded(
        self, work: Callable[[LeaseConnection], Awaitable[T]], connection: LeaseConnection, seconds: float
    ) -> T:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await work(connection)
        except TimeoutError:
            if not limit.expired():
                raise
            # PostgreSQL ends the statement by itself at its statement_timeout.
            await connection.close()
            self._lost(f"no answer within {seconds:.2f}s")
            raise AttemptTimeout from None

    async def _configure(self, connection: LeaseConnection) -> None:
        await configure(connection)
        self._why = ""
        log.info("lease connection opened", extra={"backend": connection.info.backend_pid})
        self.timeline = connection.timeline
        if not connection.timeline and not self._timeline_told:
            self._timeline_told = True
            log.warning("this PostgreSQL does not tell its WAL timeline: a failover may repeat tokens")

    async def _start_anew(self, pool: AsyncConnectionPool[LeaseConnection]) -> None:
        self._lost(self._why or "could not connect")
        if not pool.closed:
            await pool.check()

    def _refused(self, error: psycopg.Error) -> None:
        # Not yet a loss: a restart takes a few attempts, which whoever waits for a connection can wait for.
        self._why = told(error)

    def _lost(self, reason: str) -> None:
        if not self._away:
            log.warning("lease connection lost", extra={"reason": reason})
        self._away = True
