"""A relay at work: real pools on a real PostgreSQL, on the test's own loop and on a free port."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from psycopg import conninfo

from poolguard.aio.clock import SystemClock
from poolguard.aio.tasks import TaskOwner
from poolguard.daemon.doors import make_door
from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import Phase, SessionEntry
from poolguard.ledger.facts import SessionFacts, Transaction
from poolguard.pool.pool import Pool
from poolguard.pool.state import Refusal
from poolguard.relay.relay import Relay
from poolguard.relay.server import Server
from poolguard.settings.model import Auth, ClientsListener, Limits, Listen, PoolMode, Route, Settings, Upstream
from poolguard.settings.model import Pool as PoolSettings
from poolguard.upstream.target import resolve_target
from tests.support.cluster import Database
from tests.support.eventually import eventually_async

TRANSACTION: Final = "transaction"
SESSION: Final = "session"
MODES: Final = (TRANSACTION, SESSION)
"""Names of the two pools that there are unless a test says otherwise: one of each mode."""


def both_modes(size: int = 5, *, wait_timeout: float = 10.0, max_waiting: int = 500) -> dict[str, PoolSettings]:
    """A pool of each mode."""
    return {
        TRANSACTION: PoolSettings(size=size, wait_timeout=wait_timeout, max_waiting=max_waiting),
        SESSION: PoolSettings(size=size, mode=PoolMode.SESSION, wait_timeout=wait_timeout, max_waiting=max_waiting),
    }


@dataclass(slots=True)
class Running:
    """One relay, and what a test asks of it."""

    relay: Relay
    ledger: Ledger
    failures: list[tuple[str, BaseException]] = field(default_factory=list)
    """Tasks and callbacks that failed: the fixture fails the test for any."""
    starved: list[tuple[SessionEntry, float, Refusal, list[Transaction]]] = field(default_factory=list)
    """Every wait that was in vain."""

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self.relay.port

    def dsn(self, pool: str = TRANSACTION, **more: str | int) -> str:
        """A libpq conninfo to *pool*."""
        wanted: dict[str, str | int] = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "dbname": pool}
        return conninfo.make_conninfo("", **{**wanted, **more})

    def pool(self, name: str = TRANSACTION) -> Pool[Server]:
        """The pool itself."""
        return self.relay.registry.pools[name]

    def holders(self, pool: str = TRANSACTION) -> list[Transaction]:
        """What holds a server of *pool*, oldest first."""
        return self.ledger.transactions(self.relay.clock.monotonic(), pool=pool)

    def session(self, application_name: str) -> SessionFacts:
        """The one session of that application."""
        facts = self.ledger.facts(self.relay.clock.monotonic())
        (found,) = [session for session in facts if session.application_name == application_name]
        return found

    async def phase(self, application_name: str, phase: Phase) -> SessionFacts:
        """Wait until the session of that application is in *phase*."""

        def there() -> SessionFacts:
            session = self.session(application_name)
            assert session.phase is phase, session.phase
            return session

        return await eventually_async(there)

    async def transaction(self, application_name: str, phase: Phase = Phase.IDLE_IN_TRANSACTION) -> Transaction:
        """Wait until the session of that application holds a server in *phase*; give what it holds."""

        def there() -> Transaction:
            every = self.ledger.transactions(self.relay.clock.monotonic())
            found = [held for held in every if held.application_name == application_name]
            assert [held.phase for held in found] == [phase], self.ledger.facts(0.0)
            return found[0]

        return await eventually_async(there)

    async def at_rest(self, *, within: float = 10.0, sessions: int | None = None) -> None:
        """Wait until no pool has anything held, waiting or opening (and *sessions* are left); check all books."""

        def balanced() -> bool:
            now = self.relay.clock.monotonic()
            for pool in self.relay.registry.pools.values():
                pool.state.check()
                shot = pool.snapshot(now)
                assert (shot.held, shot.waiting, shot.opening) == (0, 0, 0), shot
                assert shot.idle <= shot.size, shot
            assert not self.ledger.holders, self.ledger.holders
            assert sessions is None or len(self.ledger.sessions) == sessions, self.ledger.facts(now)
            return True

        # A look costs microseconds, and some tests come to rest five hundred times.
        await eventually_async(balanced, within=within, every=0.001)


def _reason(context: Mapping[str, object]) -> BaseException:
    """What a callback or a forgotten task raised."""
    exception = context.get("exception")
    return exception if isinstance(exception, BaseException) else RuntimeError(str(context))


@asynccontextmanager
async def running(
    database: Database,
    pools: Mapping[str, PoolSettings] | None = None,
    *,
    auth: Auth | None = None,
    limits: Limits | None = None,
    connect_timeout: float = 5.0,
    clients: ClientsListener | None = None,
    routes: tuple[Route, ...] = (),
) -> AsyncIterator[Running]:
    """Run a relay in front of *database*. Fails at the end if any of its tasks did."""
    pools = pools or both_modes()
    settings = Settings(
        upstream=Upstream(url=database.url, connect_timeout=connect_timeout),
        listen=Listen(clients=clients or ClientsListener(port=0)),
        auth=auth or Auth(),
        pools=pools,
        routes=routes,
        default_pool=next(iter(pools)),
        limits=limits or Limits(),
    )
    target = resolve_target(settings.upstream, {})
    failures: list[tuple[str, BaseException]] = []
    loop, handler = asyncio.get_running_loop(), asyncio.get_running_loop().get_exception_handler()
    loop.set_exception_handler(lambda _, context: failures.append((context["message"], _reason(context))))
    starved: list[tuple[SessionEntry, float, Refusal, list[Transaction]]] = []
    ledger = Ledger()
    relay = Relay(
        settings,
        clock=SystemClock(),
        ledger=ledger,
        tasks=TaskOwner(lambda name, error: failures.append((name, error))),
        target_of=lambda pool: target,
        door=await asyncio.to_thread(make_door, settings, seed=secrets.token_bytes(32)),
        on_starved=lambda *told: starved.append(told),
        on_error=lambda *_: None,
    )
    await relay.start()
    try:
        yield Running(relay, ledger, failures, starved)
    finally:
        await relay.stop()
        loop.set_exception_handler(handler)
    assert not failures, failures
