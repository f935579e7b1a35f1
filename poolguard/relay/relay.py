"""The relay as a service: listens for clients, knows all sessions, and acts on them for the guard."""

import asyncio
import contextlib
import hmac
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import count
from pathlib import Path
from typing import Final

from poolguard.aio.tasks import TaskOwner
from poolguard.core.clock import Clock
from poolguard.core.errors import PoolguardError, SettingsError, ShuttingDown
from poolguard.core.ids import ServerId, SessionId, TransactionId
from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import SessionEntry
from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import ANYHOW, Outcome, Still
from poolguard.pool.pool import Pool
from poolguard.pool.registry import Registry, choose_pool
from poolguard.pool.state import Refusal
from poolguard.relay import hands, refusal
from poolguard.relay.arrivals import Arrivals
from poolguard.relay.bound import Bound, no_leases
from poolguard.relay.cancels import Cancels
from poolguard.relay.counters import Refused, RelayCounters
from poolguard.relay.door import BACKLOG, Door, listen_tcp
from poolguard.relay.listeners import Listeners
from poolguard.relay.lobby import Lobby, Welcome, forget_statements
from poolguard.relay.login import Login
from poolguard.relay.opening import cancel, nobody_yet, open_for
from poolguard.relay.passages import Passages
from poolguard.relay.routed import begin_session
from poolguard.relay.server import Server
from poolguard.relay.session import Session
from poolguard.relay.state import Surroundings
from poolguard.relay.visitors import Console, NoConsole
from poolguard.settings.model import Pool as PoolSettings
from poolguard.settings.model import Settings
from poolguard.upstream.target import Target
from poolguard.wire.startup import Startup
from poolguard.wire.text import Pin

log = logging.getLogger(__name__)

STOP_SECONDS: Final = 2.0
"""How long stop() waits for PostgreSQL to end what still runs."""

Starved = Callable[[SessionEntry, float, Refusal, list[Transaction]], None]


class Relay:
    """See the package's docstring. Also the `Hands` of the guard."""

    name = "relay"

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        ledger: Ledger,
        tasks: TaskOwner,
        target_of: Callable[[PoolSettings], Target],
        door: Door,
        on_starved: Starved,
        on_error: Callable[[SessionEntry, Mapping[str, str]], None],
        leads: Callable[[str], bool] = no_leases,
        lock_root: Callable[[Collection[TransactionId]], str] = lambda _: "",
    ) -> None:
        self.clock: Final = clock
        self.settings = settings
        self.ledger: Final = ledger
        self.counters: Final = RelayCounters()
        self.registry: Final[Registry[Server]] = Registry(clock)
        self.console: Console = NoConsole()
        """Takes in who wants no pool: set by whoever has one."""
        self.use_door(door)
        self._tasks: Final = tasks
        self._cleaning: Final = tasks.branch()
        self._target_of = target_of
        self._lobbies: dict[str, Lobby] = {}
        self._arrivals: Final = Arrivals[Login]()
        self._cancels: Final = Cancels(tasks, settings.limits.max_cancels)
        self.listeners: Final = Listeners(tasks, self.counters)
        self._sessions: dict[SessionId, Session] = {}
        self._bound: Final = Bound(leads)
        self._passages: Final = Passages(
            ledger, self._bound, tasks, target_of, lambda: self.settings.limits.max_replication
        )
        self._keys: dict[int, tuple[bytes, Session]] = {}
        self._listeners: list[asyncio.Server] = []
        self._server_numbers = count(1)
        self._leaving: list[Pool[Server]] = []
        """Pools that a reload took away, until their last session has ended."""
        self._draining = False
        self._emptied = asyncio.Event()
        self._around = Surroundings(
            ledger=ledger,
            counters=self.counters,
            tasks=self._cleaning,
            limits=lambda: self.settings.limits,
            on_starved=on_starved,
            on_error=on_error,
            on_closed=self._session_closed,
            on_restructured=lambda: forget_statements(self._lobbies.values()),
            listener_of=self.listeners.of,
            shows_text=lambda: self.settings.privacy.statement_text,
            lock_root=lock_root,
        )
        for pool_name, pool_settings in settings.pools.items():
            self.registry.add(self.make_pool(pool_name, pool_settings))

    # Pools and their servers.

    def make_pool(self, name: str, settings: PoolSettings) -> Pool[Server]:
        """A pool whose servers are opened as *settings* say."""
        pool: Pool[Server] = Pool(name, settings, opener=nobody_yet, clock=self.clock, tasks=self._tasks)
        pool.opener = self._opener(pool)
        self._lobbies[name] = Lobby(pool, self._exhausted)
        self.listeners.add(pool, lambda: open_for(pool, self._target_of(pool.settings), listening=True))
        return pool

    def _opener(self, pool: Pool[Server]) -> Callable[[], Awaitable[Server]]:
        return lambda: self._open(pool, self._target_of(pool.settings))

    async def _open(self, pool: Pool[Server], target: Target) -> Server:
        link = await open_for(pool, target)
        server = Server(ServerId(next(self._server_numbers)), link, pool, self.counters, cancel)
        self._lobbies[pool.name].greeting = dict(link.parameters)
        return server

    def _exhausted(self, pool: Pool[Server], reason: Refusal) -> PoolguardError:
        holders = self.ledger.transactions(self.clock.monotonic(), pool=pool.name)
        return refusal.exhausted(
            pool.name,
            reason,
            pool.settings.wait_timeout,
            size=pool.state.size,
            waiting=pool.state.waiting,
            holders=holders,
            upstream_error=pool.last_error,
            shows_text=self.settings.privacy.statement_text,
            lock_root=self._around.lock_root([holder.id for holder in holders]),
        )

    # The service.

    async def start(self) -> None:
        """Listen. Raises SettingsError if an address can't be had."""
        loop = asyncio.get_running_loop()
        listen = self.settings.listen.clients
        where = f"{listen.host}:{listen.port}"
        try:
            self._listeners.append(await listen_tcp(lambda: Login(self), listen.host, listen.port))
            if listen.unix_socket_dir is not None:
                where = str(Path(listen.unix_socket_dir) / f".s.PGSQL.{listen.port or self.port}")
                unix = await loop.create_unix_server(lambda: Login(self), where, backlog=BACKLOG)
                self._listeners.append(unix)
        except OSError as error:
            for listener in self._listeners:
                listener.close()
            raise SettingsError(
                f"clients: can't listen on {where}: {os.strerror(error.errno) if error.errno else error}",
                hint="Free the address, or set another one in listen.clients.",
            ) from error
        self._tasks.spawn(self._maintain(), name="maintain the pools")
        log.info("listening for clients", extra={"host": listen.host, "port": self.port})

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return int(self._listeners[0].sockets[0].getsockname()[1])

    @property
    def listening(self) -> bool:
        """Whether clients can connect."""
        return bool(self._listeners) and not self._draining

    async def _maintain(self) -> None:
        while True:
            self.registry.maintain()
            self._cut_off()
            self.listeners.tend()
            for pool in [pool for pool in self._leaving if not pool.sessions]:
                self.listeners.drop(pool)
                pool.stop(refusal.removed(pool.name))
                self._leaving.remove(pool)
            await self.clock.sleep_until(self.clock.monotonic() + 1.0)

    def _cut_off(self) -> None:
        """End the connections of clients that do not read what they were sent."""
        for session in self._around.unread.overdue(self.clock.monotonic(), self.settings.limits.unread_timeout):
            if not session.closed:
                self.counters.clients_cut_off_total += 1
                log.warning(
                    "a client did not read what it was sent and is cut off",
                    extra={
                        "pool": session.pool.name,
                        "client": session.entry.client_address,
                        "application_name": session.entry.application_name,
                        "unread_bytes": session.unread_bytes(),
                    },
                )
            session.cut()

    def _shut(self) -> None:
        self._draining = True
        for listener in self._listeners:
            listener.close()
        for login in self._arrivals:
            login.stop()
        self._passages.end()

    async def drain(self, deadline: float) -> None:
        """Accept nobody, end idle sessions, let transactions finish until *deadline*."""
        self._shut()
        for session in list(self._sessions.values()):
            session.drain(ShuttingDown("poolguard is stopping; connect again"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, deadline - self.clock.monotonic())):
                while self._sessions:
                    self._emptied.clear()
                    await self._emptied.wait()

    async def stop(self) -> None:
        """End everything now. What still runs in PostgreSQL is cancelled and rolled back, not left to run on unseen."""
        self._shut()
        for session in list(self._sessions.values()):
            session.fatal(ShuttingDown("terminating connection: poolguard is stopping"))
        self.listeners.stop()
        if not await self._cleaning.finish(STOP_SECONDS):
            log.warning("PostgreSQL has not ended everything in time: its connections are closed")
        self.registry.stop()
        for pool in self._leaving:
            pool.stop()
        await self._cleaning.close()
        await self._tasks.close()

    def reconfigure(self, settings: Settings, door: Door, moved: frozenset[str]) -> None:
        """Take new settings live. *moved*: pools whose PostgreSQL changed; their servers are replaced."""
        self.settings = settings
        self.use_door(door)
        self._cancels.limit_to(settings.limits.max_cancels)
        for pool in self.registry.apply(dict(settings.pools), self.make_pool):
            self._leaving.append(pool)
            for session in [session for session in self._sessions.values() if session.home_pool is pool]:
                session.drain(refusal.removed(pool.name))
        for name in moved & self.registry.pools.keys():
            moving = self.registry.pools[name]
            moving.renew(self._opener(moving), self.clock.monotonic())
            self.listeners.renew(moving)
            self._lobbies[name].greeting = None

    def use_door(self, door: Door) -> None:
        """Let clients in by *door* from now on: passwords and certificate. Those who are in stay."""
        self.door: Door = door
        self.counters.certificate_expires_at = None if door.tls is None else door.tls.expires_at

    # What a login needs.

    def arrived(self, login: Login) -> SessionEntry:
        """See door.House."""
        if self._draining:
            raise ShuttingDown("poolguard is stopping; connect again")
        now = self.clock.monotonic()
        self._arrivals.come(login, now, limit=self.settings.limits.max_logins)
        self.counters.clients_accepted_total += 1
        peer = login.transport.get_extra_info("peername")
        address = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) and len(peer) >= 2 else "unix"
        return self.ledger.open_session(client_address=address, now=now)

    def proven(self, login: Login) -> None:
        """See door.House."""
        self._arrivals.prove(
            login, sessions=len(self._sessions) + len(self._passages), limit=self.settings.limits.max_clients
        )

    def left(self, login: Login, reason: Refused | None) -> None:
        """See door.House."""
        self._arrivals.go(login)
        if reason is not None:
            self.counters.clients_refused_total[reason.value] += 1
        entry = login.entry
        if entry is None or entry.session_id in self._sessions or entry.session_id in self._passages:
            return
        if entry.session_id in self.ledger.sessions:
            self.ledger.close_session(entry)

    def lobby_for(self, asked: Startup) -> Lobby:
        """See door.House."""
        name = choose_pool(
            database=asked.database,
            user=asked.user,
            application_name=asked.given.get("application_name", ""),
            pools=self.registry.pools,
            routes=self.settings.routes,
            default_pool=self.settings.default_pool,
        )
        return self._lobbies[name]

    def begin(
        self, login: Login, entry: SessionEntry, lobby: Lobby, welcome: Welcome, minor: int
    ) -> tuple[Session, int, bytes]:
        """See door.House."""
        if login.lease:
            self._bound.bind(entry.session_id, login.lease)
        session = begin_session(
            self.settings.routes,
            self.registry.pools,
            transport=login.transport,
            entry=entry,
            pool=lobby.pool,
            catalogue=lobby.catalogue,
            wanted=welcome.wanted,
            around=self._around,
        )
        if welcome.escapes:
            session.pin_for(Pin.STRINGS)  # its texts can't be read
        pid = entry.session_id % 2**31
        key = secrets.token_bytes(32 if minor >= 2 else 4)
        self._sessions[entry.session_id] = session
        self._keys[pid] = (key, session)
        return session, pid, key

    async def replicate(
        self, login: Login, entry: SessionEntry, lobby: Lobby, asked: Startup, parameters: Mapping[str, str]
    ) -> None:
        """See door.House."""
        link = await self._passages.open(lobby.pool.settings, asked.replication, parameters, login.lease)
        early, minor = login.take_early(), asked.agreed_minor
        self._passages.begin(login.transport, link, entry, minor=minor, early=early, lease=login.lease)

    def spawn_login(self, login: Login) -> asyncio.Task[None]:
        """See door.House."""
        return self._tasks.spawn(login.run(), name="log a client in")

    async def cancel_asked(self, pid: int, key: bytes) -> None:
        """See door.House. A wrong key does nothing, and says nothing (PostgreSQL docs, 55.2.8)."""
        self.counters.cancel_requests_total += 1
        expected, session = self._keys.get(pid, (b"", None))
        if session is not None and hmac.compare_digest(expected, key):
            await self._cancels.ask(session)
        else:
            await self._passages.cancel(pid, key)

    def _session_closed(self, session: Session) -> None:
        session_id = session.entry.session_id
        self._sessions.pop(session_id, None)
        self._bound.unbind(session_id)
        self._keys.pop(session_id % 2**31, None)
        if not self._sessions:
            self._emptied.set()

    # What the leases do.

    def lease_ended(self, lease: str) -> None:
        """End the sessions that are bound to *lease*: what they run is cancelled first."""
        bound = self._bound.to(lease)
        if not bound:
            return
        log.warning(
            "sessions end with the lease that they are bound to", extra={"lease": lease, "sessions": len(bound)}
        )
        for session_id in bound:
            session = self._sessions.get(session_id)
            if session is None:
                self._passages.cut(session_id)
            else:
                self._tasks.spawn(hands.end(session, self._bound.over()), name="end a session with its lease")

    # What the guard does.

    async def cancel(self, transaction: TransactionId, still: Still = ANYHOW) -> Outcome:
        """See ledger.hands.Hands."""
        session = self._still(transaction, still)
        return Outcome.VICTIM_MOVED if session is None else await hands.cancel(session, transaction.checkout)

    async def rollback(self, transaction: TransactionId, error: PoolguardError, still: Still = ANYHOW) -> Outcome:
        """See ledger.hands.Hands."""
        session = self._still(transaction, still)
        return Outcome.VICTIM_MOVED if session is None else await hands.roll_back(session, transaction.checkout, error)

    async def terminate(self, transaction: TransactionId, error: PoolguardError, still: Still = ANYHOW) -> Outcome:
        """See ledger.hands.Hands."""
        session = self._still(transaction, still)
        return Outcome.VICTIM_MOVED if session is None else await hands.terminate(session, transaction.checkout, error)

    def _still(self, transaction: TransactionId, still: Still) -> Session | None:
        """The session, unless it has gone on to what nobody judged."""
        session = self._sessions.get(transaction.session)
        if session is None or not still.holds(session.entry.began_at, session.entry.statements):
            return None
        return session
