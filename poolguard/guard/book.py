"""The latest incidents: a ring of 1,000, filters, and a stream for those who watch. Each is one JSON log line too."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from poolguard.core.clock import Clock
from poolguard.core.ids import TransactionId
from poolguard.guard.clients import ClientKey
from poolguard.guard.errors import Deadlock
from poolguard.guard.evidence import MAX_NAME, party_of, pool_state_of
from poolguard.guard.incidents import (
    Classification,
    ClientSees,
    EndedTerm,
    Incident,
    IncidentKind,
    IncidentMode,
    IncidentOutcome,
    Party,
)
from poolguard.guard.locks.graph import Tree
from poolguard.guard.locks.tell import incident_tree, root_in_words
from poolguard.guard.log_line import facts, message
from poolguard.guard.starvation import classify_starvation
from poolguard.guard.traits import statements_of
from poolguard.guard.wording import ADVICE
from poolguard.ledger.facts import Transaction
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.pool.state import Refusal

log = logging.getLogger(__name__)

KEPT: Final = 1000
NAMED_HOLDERS: Final = 5
STARVATION_SECONDS: Final = 1.0
"""A starved pool gets at most one incident in this time: a queue of hundreds runs out of time all at once."""
STREAM_LENGTH: Final = 100

_LEVELS: Final = {
    IncidentOutcome.FAILED: logging.ERROR,
    IncidentOutcome.OBSERVED: logging.INFO,
    IncidentOutcome.VICTIM_MOVED: logging.INFO,
}
"""All others are warnings. That a budget is used up is told as an error once, not for all that it withholds."""
_STARVED: Final = {
    Refusal.TIMEOUT: IncidentOutcome.TIMEOUT,
    Refusal.QUEUE_FULL: IncidentOutcome.QUEUE_FULL,
}


class Stream:
    """Incidents as they come. A reader that is too slow loses the oldest; `missed` counts them."""

    def __init__(self) -> None:
        self.missed = 0
        self._queue: asyncio.Queue[Incident] = asyncio.Queue(STREAM_LENGTH)

    def offer(self, incident: Incident) -> None:
        """Add *incident*. Never waits."""
        if self._queue.full():
            self._queue.get_nowait()
            self.missed += 1
        self._queue.put_nowait(incident)

    async def take(self, seconds: float) -> Incident | None:
        """The next incident; None if none comes within *seconds*."""
        try:
            async with asyncio.timeout(seconds):
                return await self._queue.get()
        except TimeoutError:
            return None

    async def __aiter__(self) -> AsyncIterator[Incident]:
        """Yield incidents, for ever."""
        while True:
            yield await self._queue.get()


class IncidentBook:
    """Records incidents. *snapshot* gives a pool's numbers, None for a pool that is gone."""

    def __init__(
        self,
        clock: Clock,
        snapshot: Callable[[str], PoolSnapshot | None],
        *,
        settings_hash: str = "",
        kept: int = KEPT,
        shows_text: Callable[[], bool] = lambda: True,
    ) -> None:
        self.settings_hash = settings_hash
        self.recorded_total = 0
        self._clock = clock
        self._snapshot = snapshot
        self._shows_text = shows_text
        self._ring: deque[Incident] = deque(maxlen=kept)
        self._streams: set[Stream] = set()
        self._started = int(clock.wall())
        self._ids = 0
        self._starved: dict[str, tuple[float, Incident]] = {}
        self._repeats: dict[str, int] = {}

    def new_id(self) -> str:
        """An id that no other incident of this poolguard has, nor had before a restart."""
        self._ids += 1
        return f"{self._started:x}-{self._ids}"

    def record(self, incident: Incident) -> Incident:
        """Keep *incident*, log it, and pass it on to all streams; as it may be shown, which is returned."""
        incident = self._shown(incident)
        self.recorded_total += 1
        self._ring.append(incident)
        level = _LEVELS.get(incident.outcome, logging.WARNING)
        log.log(level, message(incident), extra=facts(incident))
        for stream in self._streams:
            stream.offer(incident)
        return incident

    def _shown(self, incident: Incident) -> Incident:
        return incident if self._shows_text() else incident.without_text()

    def get(self, incident_id: str) -> Incident | None:
        """The incident of that id, while it is kept."""
        return next((self._shown(incident) for incident in reversed(self._ring) if incident.id == incident_id), None)

    def rules(self) -> set[str]:
        """The names of all rules of which incidents are kept."""
        return {incident.rule for incident in self._ring if incident.rule is not None}

    def find(
        self,
        *,
        pool: str | None = None,
        rule: str | None = None,
        action: str | None = None,
        outcome: str | None = None,
        application: str | None = None,
        since: float | None = None,
    ) -> Sequence[Incident]:
        """Those that match everything that is given, newest first. *since*: seconds since 1970, inclusive."""
        return [
            self._shown(incident)
            for incident in reversed(self._ring)
            if (pool is None or incident.pool == pool)
            and (rule is None or incident.rule == rule)
            and (action is None or incident.action == action)
            and (outcome is None or incident.outcome == outcome)
            and (application is None or application in _applications(incident))
            and (since is None or incident.at >= since)
        ]

    @contextmanager
    def subscribe(self) -> Iterator[Stream]:
        """Get every incident recorded while the block lasts."""
        stream = Stream()
        self._streams.add(stream)
        try:
            yield stream
        finally:
            self._streams.discard(stream)

    def deadlocked(self, deadlock: Deadlock) -> Incident:
        """Record a deadlock: its parties are the holders, the victim first, each having waited for the next."""
        snapshot = self._snapshot(deadlock.pool)
        parties = [one.party for one in deadlock.cycle if one.party is not None]
        incident = Incident(
            id=self.new_id(),
            at=self._clock.wall(),
            kind=IncidentKind.DEADLOCK,
            mode=IncidentMode.ENFORCE,
            pool=deadlock.pool,
            policy=snapshot.policy if snapshot is not None else "",
            settings_hash=self.settings_hash,
            outcome=IncidentOutcome.DONE,
            actor="postgresql",
            transaction=parties[0] if parties and deadlock.cycle[0].party is parties[0] else None,
            holders=tuple(parties),
            holders_total=len(deadlock.cycle),
            pool_state=pool_state_of(snapshot),
            client_sees=ClientSees(sqlstate="40P01", severity="ERROR", when="at once, in PostgreSQL's own words"),
            classification=Classification.DEADLOCK,
            advice=ADVICE[Classification.DEADLOCK] + (f" It was about {deadlock.context}." if deadlock.context else ""),
        )
        return self.record(incident)

    def lease_forced(self, term: EndedTerm, *, actor: str, reason: str, done: bool) -> Incident:
        """Record that *actor* ended *term* by force; not *done*: PostgreSQL refused, or nobody knows."""
        incident = Incident(
            id=self.new_id(),
            at=self._clock.wall(),
            kind=IncidentKind.LEASE,
            mode=IncidentMode.ENFORCE,
            pool="",
            policy="",
            settings_hash=self.settings_hash,
            outcome=IncidentOutcome.DONE if done else IncidentOutcome.FAILED,
            actor=actor,
            reason=reason,
            term=term,
            classification=Classification.FORCED_RELEASE,
            advice=ADVICE[Classification.FORCED_RELEASE],
        )
        return self.record(incident)

    def starved(
        self,
        pool: str,
        waited: float,
        reason: Refusal,
        holders: Sequence[Transaction],
        *,
        waiter: ClientKey | None = None,
        blocked: Collection[TransactionId] = (),
        tree_behind: Callable[[Collection[TransactionId]], Tree | None] = lambda _: None,
    ) -> Incident:
        """Record that *waiter* waited *waited* seconds for a server of *pool* in vain; *holders* oldest first.

        *blocked* are the transactions that wait for a lock, *tree_behind* tells which tree most of some stand in.

        Within `STARVATION_SECONDS` of the pool's latest starvation, that one is returned and the next counts this.
        """
        now = self._clock.monotonic()
        at, latest = self._starved.get(pool, (float("-inf"), None))
        if latest is not None and now - at < STARVATION_SECONDS:
            self._repeats[pool] = self._repeats.get(pool, 0) + 1
            return latest
        snapshot = self._snapshot(pool)
        # Who is refused at once for a full queue has not waited, but those before it have.
        longest = max(waited, snapshot.oldest_wait_seconds if snapshot is not None else 0.0)
        classification = classify_starvation(holders, waiter, blocked, waited=longest)
        behind_lock = classification is Classification.LOCKS_HOLD_POOL
        tree = tree_behind({holder.id for holder in holders}) if behind_lock else None
        incident = Incident(
            id=self.new_id(),
            at=self._clock.wall(),
            kind=IncidentKind.STARVATION,
            mode=IncidentMode.ENFORCE,
            pool=pool,
            policy=snapshot.policy if snapshot is not None else "",
            settings_hash=self.settings_hash,
            outcome=_STARVED[reason],
            actor="queue",
            waiter=waiter.application_name[:MAX_NAME] if waiter is not None else "",
            waited_seconds=waited,
            holders=tuple(_holder(holder) for holder in holders[:NAMED_HOLDERS]),
            holders_total=len(holders),
            repeats=self._repeats.pop(pool, 0),
            pool_state=pool_state_of(snapshot),
            client_sees=ClientSees(sqlstate="53300", severity="ERROR", when="at once; its session goes on"),
            lock_tree=incident_tree(tree) if tree is not None else None,
            classification=classification,
            advice=ADVICE[classification] + (f" It is {root_in_words(tree)}." if tree is not None else ""),
        )
        incident = self.record(incident)
        self._starved[pool] = (now, incident)
        return incident


def _applications(incident: Incident) -> set[str]:
    """Of the transaction, and of those that held what somebody waited for."""
    parties = (*incident.holders, *((incident.transaction,) if incident.transaction is not None else ()))
    return {party.application_name for party in parties}


def _holder(transaction: Transaction) -> Party:
    # Only the latest statement: this runs for each wait that fails, in the client's own turn of the loop.
    return party_of(transaction, statements=statements_of(transaction)[-1:])
