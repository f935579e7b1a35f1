"""From a command to its table."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from poolguard import __version__
from poolguard.console import permission, tables
from poolguard.console.encoding import Column
from poolguard.console.sources import ConsoleSources, Leases
from poolguard.console.statements import Kill, Show, Topic
from poolguard.console.tables import COLUMNS, KILL_COLUMNS, MOST_ROWS, Row, Table
from poolguard.core.errors import NotSupported
from poolguard.guard.locks.tell import without_text
from poolguard.lease.manager import Standing
from poolguard.ledger.facts import session_facts, transaction_facts
from poolguard.wire.startup import Startup

LEASES_AT_ONCE: Final = 100
"""Read by one request: PostgreSQL's rows come all at once, and must not keep the loop for long."""


Found = tuple[Iterable[Row], int, str]
"""Rows, how many there are in all (0: these), and what else is to be said."""


def columns_of(command: Show | Kill) -> tuple[Column, ...]:
    """What *command* answers with, before it runs."""
    return COLUMNS[command.topic] if isinstance(command, Show) else KILL_COLUMNS


class Answers:
    """For one client: what it asked for at its start says what it may."""

    def __init__(self, sources: ConsoleSources, asked: Startup, address: str) -> None:
        self._sources = sources
        self._asked = asked
        self._address = address

    async def perform(self, command: Show | Kill) -> Table:
        """Do it.

        Raises NotAllowed (42501), UnknownPool (3D000: that transaction is over), NotSupported (0A000: leases are off),
        or what reading leases raises (08001).
        """
        if isinstance(command, Kill):
            return Table(KILL_COLUMNS, [await self._kill(command)])
        rows, total, notice = await self._show(command.topic)
        if total > MOST_ROWS:
            notice = f"these are {MOST_ROWS} of {total}; HTTP has all, by pages"
        return Table(COLUMNS[command.topic], rows, notice)

    async def _kill(self, command: Kill) -> Row:
        permission.check(self._asked, self._address, self._sources.settings.settings.auth.admin_token)
        actor = f"console ({self._address})"
        incident = await self._sources.guard.by_hand(command.transaction, command.action, actor)
        return tables.kill_row(incident, str(command.transaction))

    async def _show(self, topic: Topic) -> Found:
        match topic:
            case Topic.HELP:
                return tables.help_rows(), 0, ""
            case Topic.POOLS:
                pools = self._sources.pools()
                return tables.pool_rows(pools[:MOST_ROWS]), len(pools), ""
            case Topic.SESSIONS:
                return self._sessions()
            case Topic.TRANSACTIONS:
                return self._transactions()
            case Topic.LOCKS:
                return self._locks()
            case Topic.INCIDENTS:
                incidents = self._sources.incidents.find()
                return tables.incident_rows(incidents[:MOST_ROWS]), len(incidents), ""
            case Topic.LEASES:
                return tables.lease_rows(await self._leases()), 0, ""
            case Topic.SETTINGS:
                return tables.setting_rows(self._sources.settings), 0, ""
            case Topic.VERSION:
                return [(f"poolguard {__version__}",)], 0, ""

    def _sessions(self) -> Found:
        ledger, now = self._sources.ledger, self._sources.clock.monotonic()
        facts = [
            session_facts(entry, now, holds=entry.session_id in ledger.holders)
            for entry in islice(ledger.sessions.values(), MOST_ROWS)
        ]
        return tables.session_rows(facts), len(ledger.sessions), ""

    def _transactions(self) -> Found:
        ledger, now = self._sources.ledger, self._sources.clock.monotonic()
        entries = sorted(ledger.holders.values(), key=lambda entry: entry.held_since)
        facts = [transaction_facts(entry, now) for entry in entries[:MOST_ROWS]]
        return tables.transaction_rows(facts, shows_text=self._sources.shows_text), len(entries), ""

    def _locks(self) -> Found:
        state = self._sources.locks
        notice = "" if state.connected else "the observer is not connected: nothing is known of locks"
        total = sum(1 + len(tree.branches) for tree in state.graph.trees)
        graph = state.graph if self._sources.shows_text else without_text(state.graph)
        return islice(tables.lock_rows(graph), MOST_ROWS), total, notice

    async def _leases(self) -> list[Standing]:
        leases = self._sources.leases
        if leases is None:
            raise NotSupported("there are no leases: leases.enabled is false")
        return await _all_of(leases)


async def _all_of(leases: Leases) -> list[Standing]:
    found: list[Standing] = []
    while len(found) < MOST_ROWS:
        page = await leases.list(after=found[-1].row.name if found else "", limit=LEASES_AT_ONCE)
        found += page
        if len(page) < LEASES_AT_ONCE:
            break
    return found
