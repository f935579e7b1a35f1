"""Servers, an opener and waiters as a pool sees them."""

import asyncio

from poolguard.core.errors import PoolguardError
from poolguard.pool.pool import Pool
from poolguard.pool.snapshot import CloseReason
from poolguard.pool.state import Refusal


class FakeServer:
    """Remembers why it was closed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.dies_at = float("inf")
        self.read_only = False
        self.silent = True
        self.closed: list[CloseReason] = []

    def close(self, reason: CloseReason) -> None:
        self.closed.append(reason)


class Opener:
    """Opens fake servers; raises `errors` first, one a call; holds every answer back while `gate` is clear."""

    def __init__(self, *errors: Exception) -> None:
        self.errors: list[Exception] = list(errors)
        self.read_only = False
        self.servers: list[FakeServer] = []
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived: asyncio.Queue[FakeServer | Exception] = asyncio.Queue()
        """What each call brought, put there one turn of the loop after the pool has seen it."""

    async def __call__(self) -> FakeServer:
        self.calls += 1
        await self.gate.wait()
        loop = asyncio.get_running_loop()
        if self.errors:
            error = self.errors.pop(0)
            loop.call_soon(self.arrived.put_nowait, error)
            raise error
        server = FakeServer(len(self.servers) + 1)
        server.read_only = self.read_only
        self.servers.append(server)
        loop.call_soon(self.arrived.put_nowait, server)
        return server


class FakeWaiter:
    """Answers a grant with *accepts*; `answered` is set by whatever ends the wait."""

    def __init__(self, *, accepts: bool = True) -> None:
        self.accepts = accepts
        self.answered = asyncio.Event()
        self.answers: list[object] = []

    def granted(self, server: FakeServer, now: float) -> bool:
        self._note(server)
        return self.accepts

    def refused(self, reason: Refusal, waited: float) -> None:
        self._note((reason, waited))

    def failed(self, error: PoolguardError) -> None:
        self._note(error)

    def _note(self, answer: object) -> None:
        self.answers.append(answer)
        self.answered.set()


async def held(pool: Pool[FakeServer], now: float) -> FakeServer:
    """A server of *pool*, waited for if there is none idle."""
    server = pool.take()
    if server is None:
        waiter = FakeWaiter()
        pool.wait(waiter, now)
        await waiter.answered.wait()
        [answer] = waiter.answers
        assert isinstance(answer, FakeServer)
        return answer
    return server
