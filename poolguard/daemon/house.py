"""The parts, wired to each other. Nothing here decides anything."""

import asyncio
import logging
import secrets
import socket
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from poolguard.aio.clock import SystemClock
from poolguard.aio.service import Service
from poolguard.aio.tasks import TaskOwner
from poolguard.console.console import Console
from poolguard.console.sources import ConsoleSources
from poolguard.core.clock import Clock
from poolguard.core.errors import InvalidLease, SettingsError
from poolguard.core.ids import TransactionId
from poolguard.daemon.doors import make_door
from poolguard.daemon.services import Services
from poolguard.daemon.targets import Targets, password_for
from poolguard.guard.book import IncidentBook
from poolguard.guard.client_watch import ClientWatch
from poolguard.guard.clients import key_of
from poolguard.guard.errors import ErrorBook
from poolguard.guard.foreign.watch import ForeignWatch
from poolguard.guard.guard import Guard
from poolguard.guard.incidents import EndedTerm
from poolguard.guard.locks.observer import Observer
from poolguard.guard.locks.state import LockState
from poolguard.guard.locks.tell import root_in_words
from poolguard.lease.campaigns import Campaigns
from poolguard.lease.candidate import Candidate
from poolguard.lease.ear import Ear
from poolguard.lease.manager import ByForce, LeaseManager
from poolguard.lease.store import LeaseStore
from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import SessionEntry
from poolguard.ledger.facts import Transaction, transaction_facts
from poolguard.metrics.collector import Exposition
from poolguard.metrics.loop_lag import LoopLag
from poolguard.metrics.sources import SettingsInForce, Sources
from poolguard.metrics.watchdog import Watchdog
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.pool.state import Refusal
from poolguard.relay.door import Door
from poolguard.relay.relay import Relay
from poolguard.settings.loaded import Loaded
from poolguard.settings.model import Settings
from poolguard.web.app import control_app, metrics_app
from poolguard.web.elections import election_routes
from poolguard.web.elector import elector_app
from poolguard.web.hosts import OwnNames
from poolguard.web.kubernetes import KubernetesEvents
from poolguard.web.leases import lease_routes
from poolguard.web.readiness import LeaseStore as LeaseState
from poolguard.web.server import WebServer
from poolguard.web.shortcut import leader_shortcut
from poolguard.web.sources import ControlSources, MetricsSources
from poolguard.web.webhook import Webhook

log = logging.getLogger(__name__)

RESIGN_SECONDS: Final = 3.0
"""What giving leases back may take of the time to drain; one that hangs must not use it up."""


class House:
    """Everything of one process. Make it on a running loop."""

    def __init__(self, loaded: Loaded, environ: Mapping[str, str], *, observe: bool) -> None:
        """Put it together; nothing runs before start(). Raises SettingsError."""
        settings = loaded.settings
        self.clock: Final[Clock] = SystemClock()
        self.environ: Final = environ
        self.targets = Targets(settings, environ)
        self._home: Final = self.targets.default
        """Where leases and the observer stay until a restart."""
        self.in_force: Final = SettingsInForce(
            settings=settings,
            hash=loaded.hash,
            source=loaded.source,
            loaded_at=self.clock.wall(),
            warnings=loaded.warnings,
        )
        self.started = False
        self.draining = False
        self._seed: Final = secrets.token_bytes(32)
        self.ledger: Final = Ledger()
        self.loop_lag: Final = LoopLag(self.clock)
        self.watchdog: Final = Watchdog()
        self.relay: Final = Relay(
            settings,
            clock=self.clock,
            ledger=self.ledger,
            tasks=TaskOwner(_task_failed),
            target_of=lambda pool: self.targets.of(pool),
            door=self.door_of(settings),
            on_starved=self._starved,
            leads=self._leads,
            on_error=self._erred,
            lock_root=self._lock_root,
        )
        self.book: Final = IncidentBook(
            self.clock,
            self._snapshot,
            settings_hash=loaded.hash,
            shows_text=lambda: self.in_force.settings.privacy.statement_text,
        )
        self.errors: Final = ErrorBook(self.book.deadlocked)
        self.locks: Final = LockState()
        self.guard: Final = Guard(
            clock=self.clock,
            transactions=self.ledger.transactions,
            hands=self.relay,
            snapshot=self._snapshot,
            book=self.book,
            settings=settings,
            settings_hash=loaded.hash,
            observe=observe,
            blocking=lambda: self.locks.blocking,
            tree_of=self.locks.tree_of,
            has_session=lambda session: session in self.ledger.sessions,
        )
        self.observer: Final = self._make_observer(settings)
        self.foreign: Final = self._make_foreign(settings, observe=observe)
        self.clients: Final = ClientWatch(self.ledger, self.clock)
        self.leases: Final = self._make_leases(settings)
        if self.leases is not None:
            # First of all, and before a term is given back: who writes in the leader's name is stopped.
            self.leases.on_ended.append(lambda belief: self.relay.lease_ended(belief.name))
            self.leases.on_forced.append(self._lease_forced)
        self.campaigns: Final = Campaigns(self.leases, self.clock) if self.leases is not None else None
        self.relay.console = self.console = self._make_console()
        self.webhook: Final = Webhook(self.book, self.clock, lambda: self.in_force.settings.incidents.webhook)
        self.kubernetes: Final = KubernetesEvents(
            self.book, self.clock, lambda: self.in_force.settings.incidents.kubernetes, environ
        )
        self.control: Final = self._make_control(settings)
        self.metrics: Final = self._make_metrics(settings)
        parts: list[Service] = [
            self.loop_lag,
            self.webhook,
            self.kubernetes,
            self.console,
            self.relay,
            self.guard,
            self.metrics,
            self.control,
        ]
        parts.insert(1, self.clients)
        parts[1:1] = [part for part in (self.observer, self.foreign) if part is not None]
        first = [part for part in (self.leases, self.campaigns) if part is not None]
        self._services: Final = Services([*first, *parts, *self._make_elector(settings)])

    def door_of(self, settings: Settings) -> Door:
        """Who may log in by *settings*; costs 2 ms for each plain password."""
        return make_door(settings, seed=self._seed)

    async def start(self) -> None:
        """Start all parts: leases first, for they must hold their connections before anybody else wants any."""
        await self._services.start()
        self.started = True

    async def watch(self) -> None:
        """From here on whatever keeps the loop is told of: a start may, for nobody is served yet."""
        await self.watchdog.start()

    async def drain(self, seconds: float) -> None:
        """Say that we are not ready, take no new clients, and let transactions finish for *seconds*."""
        self.draining = True
        deadline = self.clock.monotonic() + seconds
        if self.campaigns is not None and self.leases is not None:
            # Resign before anything else: others can lead while this process finishes its transactions.
            await self.campaigns.drain(min(deadline, self.clock.monotonic() + RESIGN_SECONDS))
            await self.leases.drain(deadline)
        await self.relay.drain(deadline)
        await self.guard.drain(deadline)

    async def stop(self) -> None:
        """End everything."""
        await self._services.stop()
        await self.watchdog.stop()

    # Wiring.

    def _snapshot(self, pool: str) -> PoolSnapshot | None:
        found = self.relay.registry.pools.get(pool)
        return None if found is None else found.snapshot(self.clock.monotonic())

    def _starved(self, entry: SessionEntry, waited: float, reason: Refusal, holders: Sequence[Transaction]) -> None:
        self.book.starved(
            entry.pool,
            waited,
            reason,
            holders,
            waiter=key_of(entry),
            blocked=self.locks.blocked.keys(),
            tree_behind=self.locks.tree_behind,
        )

    def _lock_root(self, waiting: Collection[TransactionId]) -> str:
        tree = self.locks.root_behind(waiting)
        return "" if tree is None else root_in_words(tree)

    def _erred(self, entry: SessionEntry, fields: Mapping[str, str]) -> None:
        now = self.clock.monotonic()
        self.errors.seen(transaction_facts(entry, now), fields, self.ledger.transactions(now))

    def _lease_forced(self, by_force: ByForce) -> None:
        was = by_force.was
        term = EndedTerm(
            lease=was.name, holder=was.holder or "", token=was.token, ran_on_seconds=max(0.0, was.valid_for_seconds)
        )
        self.book.lease_forced(term, actor=by_force.actor, reason=by_force.reason, done=by_force.done)

    def _make_observer(self, settings: Settings) -> Observer | None:
        if not settings.observer.enabled:
            return None
        return Observer(
            self._home.conninfo(),
            self.locks,
            clock=self.clock,
            transactions=self.ledger.transactions,
            interval=settings.observer.interval,
            then=self._looked_at_locks,
            password=self._password,
        )

    def _password(self) -> str | None:
        return password_for(self._home, self.targets.default)

    async def _looked_at_locks(self) -> None:
        if self.foreign is not None:
            await self.foreign.look()

    def _make_foreign(self, settings: Settings, *, observe: bool) -> ForeignWatch | None:
        if self.observer is None:
            return None
        return ForeignWatch(
            clock=self.clock,
            locks=self.locks,
            book=self.book,
            end=self.observer.end,
            ours=self._our_backends,
            settings=settings,
            observe=observe,
        )

    def _our_backends(self) -> set[int]:
        servers = (server for pool in self.relay.registry.pools.values() for server in pool.state.servers)
        return {server.backend_pid for server in servers}

    def _leads(self, lease: str) -> bool:
        return self.leases is not None and self.leases.leader(lease) is not None

    def _make_leases(self, settings: Settings) -> LeaseManager | None:
        if not settings.leases.enabled:
            return None
        conninfo = self._home.conninfo()
        store = LeaseStore(conninfo, settings.leases, self.clock, self._password)
        if not settings.leases.listen:
            return LeaseManager(store, settings.leases, self.clock)
        return LeaseManager(
            store, settings.leases, self.clock, lambda heard: Ear(conninfo, self.clock, heard, self._password)
        )

    def _make_elector(self, settings: Settings) -> list[Service]:
        wanted = settings.leases.elector
        if wanted is None or self.campaigns is None:
            return []
        try:
            candidate = Candidate(
                self.campaigns,
                self.clock,
                election=wanted.election,
                holder=wanted.holder or socket.gethostname(),
                check_url=wanted.check_url,
            )
        except InvalidLease as error:
            raise SettingsError(f"leases.elector: {error.message}", hint=error.hint) from None
        server = WebServer(
            "elector", lambda: elector_app(candidate, self.clock), self.clock, host=wanted.host, port=wanted.port
        )
        return [candidate, server]

    def _make_control(self, settings: Settings) -> WebServer:
        listen = settings.listen.control
        names = OwnNames(listen.host, frozenset({socket.gethostname()}))
        routes = (
            [
                *lease_routes(self.leases, self.clock, admin_token=lambda: self.in_force.settings.auth.admin_token),
                *election_routes(self.campaigns, self.clock),
            ]
            if self.leases is not None and self.campaigns is not None
            else []
        )
        sources = ControlSources(
            clock=self.clock,
            ledger=self.ledger,
            pools=self.relay.registry.snapshots,
            settings=self.in_force,
            incidents=self.book,
            guard=self.guard,
            locks=self.locks,
            errors=self.errors,
            clients=self.clients.book,
            names=names,
            routes=routes,
        )
        return WebServer(
            "control",
            lambda: control_app(sources),
            self.clock,
            host=listen.host,
            port=listen.port,
            shortcut=leader_shortcut(self.leases, names, self.clock) if self.leases is not None else None,
        )

    def _make_console(self) -> Console:
        sources = ConsoleSources(
            clock=self.clock,
            ledger=self.ledger,
            pools=self.relay.registry.snapshots,
            settings=self.in_force,
            incidents=self.book,
            guard=self.guard,
            locks=self.locks,
            leases=self.leases,
        )
        return Console(sources, TaskOwner(_task_failed))

    def _make_metrics(self, settings: Settings) -> WebServer:
        listen = settings.listen.metrics
        exposition = Exposition(
            Sources(
                clock=self.clock,
                ledger=self.ledger,
                pools=self.relay.registry.snapshots,
                settings=self.in_force,
                relay=self.relay.counters,
                guard=self.guard.counters,
                webhook=self.webhook.counters,
                kubernetes=self.kubernetes.counters,
                leases=self.leases.counters if self.leases is not None else None,
                foreign=self.foreign.counters if self.foreign is not None else None,
                locks=self.locks if self.observer is not None else None,
                errors=self.errors,
                clients=self.clients.book,
                loop=type(asyncio.get_running_loop()).__module__.partition(".")[0],
                loop_lag=self.loop_lag.histogram,
                loop_blocks=self.watchdog.blocked,
            )
        )
        sources = MetricsSources(
            clock=self.clock,
            exposition=exposition,
            pools=self.relay.registry.snapshots,
            started=lambda: self.started,
            listening=lambda: self.relay.listening,
            draining=lambda: self.draining,
            loop_lag_seconds=lambda: self.loop_lag.latest_seconds,
            lease_store=self._lease_state,
            clients=self.clients.book,
        )
        return WebServer("metrics", lambda: metrics_app(sources), self.clock, host=listen.host, port=listen.port)

    def _lease_state(self) -> LeaseState:
        if self.leases is None:
            return LeaseState.OFF
        return LeaseState.READY if self.leases.ready else LeaseState.AWAY


def _task_failed(name: str, error: BaseException) -> None:
    log.error("a task failed; please report this as a bug", extra={"task": name}, exc_info=error)
