"""Proxies for tests that block: they run on an event loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from tests.support.proxy import Proxy

T = TypeVar("T")
_SECONDS: Final = 60.0


class Network:
    """Proxies on an event loop in a thread of its own: their callers block."""

    def __init__(self) -> None:
        self._loop: Final = asyncio.new_event_loop()
        self._thread: Final = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* there and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_SECONDS)

    def proxy(self, host: str, port: int) -> Proxy:
        """A new way to *host*."""

        async def make() -> Proxy:
            proxy = Proxy(host, port)
            await proxy.start()
            return proxy

        return self.do(make())

    def call(self, what: Callable[..., None], *arguments: object) -> None:
        """Call a method of a proxy there."""

        async def doing() -> None:
            what(*arguments)

        self.do(doing())

    def close(self) -> None:
        """End the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
