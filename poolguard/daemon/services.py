"""Start services in order, end them in reverse."""

import asyncio
import logging
from collections.abc import Sequence

from poolguard.aio.service import Service

log = logging.getLogger(__name__)


class Services:
    """Several services as one. Those that started are the ones that are stopped."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._started: list[Service] = []

    async def start(self) -> None:
        """Start one after the other; if one can't, stop those before it and raise what it raised."""
        for service in self._services:
            try:
                await service.start()
            except BaseException:
                await self.stop()
                raise
            self._started.append(service)

    async def drain(self, deadline: float) -> None:
        """Let all finish what they have, at once, until *deadline* (monotonic)."""
        results = await asyncio.gather(*(service.drain(deadline) for service in self._started), return_exceptions=True)
        for service, result in zip(self._started, results, strict=True):
            if isinstance(result, Exception):
                log.error("a part could not be drained", extra={"part": service.name}, exc_info=result)

    async def stop(self) -> None:
        """Stop all, last started first, whatever one of them raises."""
        while self._started:
            service = self._started.pop()
            try:
                await service.stop()
            except Exception:
                log.exception("a part could not be stopped", extra={"part": service.name})
