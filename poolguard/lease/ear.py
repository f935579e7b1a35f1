"""One connection that listens for releases, opened when somebody first wants to know, and opened again when lost.

What is heard only makes a look come sooner: nothing depends on it, and behind a transaction pooler, which carries no
LISTEN, all goes on by polling.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import psycopg
from psycopg import sql

from poolguard.core.clock import Clock
from poolguard.lease.connection import LeaseConnection, as_given, configure, parameters, told
from poolguard.lease.schema import CHANNEL

log = logging.getLogger(__name__)

_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
_LISTEN: Final = sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL))


class Ear:
    """Calls *heard* with a lease's name, or with None when anything may have been missed."""

    def __init__(
        self,
        conninfo: str,
        clock: Clock,
        heard: Callable[[str | None], None],
        password: Callable[[], str | None] = as_given,
    ) -> None:
        self._password: Final = password
        self._conninfo: Final = parameters(conninfo)
        self._clock: Final = clock
        self._heard: Final = heard
        self.listening = False
        """Whether releases are heard of now, as far as is known."""

    async def run(self) -> None:
        """Listen until cancelled."""
        failures = 0
        while True:
            try:
                async with await LeaseConnection.connect(self._conninfo, password_now=self._password) as connection:
                    await configure(connection)
                    await connection.execute(_LISTEN)
                    log.info("listening for releases of leases", extra={"backend": connection.info.backend_pid})
                    failures, self.listening = 0, True
                    self._heard(None)
                    async for notification in connection.notifies():
                        self._heard(notification.payload)
            except (psycopg.Error, OSError) as error:
                if self.listening or not failures:
                    log.warning("releases of leases are not heard of: polling", extra={"reason": told(error)})
            finally:
                self.listening = False
            pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
            failures += 1
            await self._clock.sleep_until(self._clock.monotonic() + pause)


class NoEar:
    """Hears nothing: for `leases.listen: false`."""

    def __init__(self, heard: Callable[[str | None], None]) -> None:
        del heard

    listening: Final = False

    async def run(self) -> None:
        """Wait to be cancelled."""
        await asyncio.Event().wait()
