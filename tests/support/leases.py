"""Leases without PostgreSQL: a table in memory that follows the same rules, and a Store over it that can misbehave."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from poolguard.core.clock import Clock
from poolguard.lease import rules
from poolguard.lease.store import Granted, HeldBy, Over, Released, Renewed, Spent
from poolguard.lease.terms import AT_ONCE, HoldOff, Row, StepDown, TermKey, Wanted

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def row(
    *,
    name: str = "a",
    holder: str | None = "pod-1",
    request_id: str | None = "r1",
    token: int = 7,
    timeline: int = 1,
    ttl_seconds: float = 15.0,
    valid_for_seconds: float = 10.0,
    version: int = 1,
    held_off: HoldOff | None = None,
) -> Row:
    return Row(
        name=name,
        holder=holder,
        request_id=request_id,
        token=token,
        timeline=timeline,
        ttl_seconds=ttl_seconds,
        acquired_at=EPOCH,
        renewed_at=EPOCH,
        transitions=1,
        metadata=None,
        valid_for_seconds=valid_for_seconds,
        version=version,
        held_off=held_off,
    )


def wish(
    *, name: str = "a", holder: str = "pod-1", ttl_seconds: float = 15.0, request_id: str = "r1", slots: int = 1
) -> Wanted:
    return Wanted(name=name, holder=holder, ttl_seconds=ttl_seconds, request_id=request_id, slots=slots)


class Table:
    """The lease table and its sequence. Time is an argument."""

    def __init__(self, timeline: int = 1) -> None:
        self.rows: dict[str, tuple[Row, float]] = {}
        """Each row with the time at which its term ends; valid_for_seconds in it means nothing."""
        self.before_last_renewal: dict[str, tuple[Row, float]] = {}
        self.hold_offs: dict[str, tuple[float, str, str | None]] = {}
        """Of each name: until when, after whom, in whose favour."""
        self.timeline = timeline
        self.granted: list[tuple[str, int, str]] = []
        """(name, token, holder) of every term that was ever begun."""
        self.forgotten = False
        self._sequence = 0

    def acquire(self, wanted: Wanted, now: float, *, floor: int, earlier_token: int | None) -> Granted | HeldBy | Spent:
        rows = {name: self.read(name, now) for name in wanted.slot_names}
        name, decision = rules.pick(rows, wanted, timeline=self.timeline, earlier_token=earlier_token)
        seen = rows[name]
        match decision:
            case rules.Replay():
                assert seen is not None
                return Granted(seen, now, replayed=True)
            case rules.Held() | rules.Wait():
                assert seen is not None
                return HeldBy(seen)
            case rules.Spent():
                return Spent(seen)
            case rules.Grace():
                assert seen is not None
                spared = replace(seen, timeline=self.timeline, version=seen.version + 1)
                return HeldBy(self._write(spared, now + seen.ttl_seconds, now))
            case rules.Take():
                return Granted(self._take(name, seen, wanted, now, floor), now, replayed=False)

    def _take(self, name: str, seen: Row | None, wanted: Wanted, now: float, floor: int) -> Row:
        self._sequence += 1
        token = max((seen.token if seen else 0) + 1, floor + 1, self.timeline << 32 | self._sequence)
        self.granted.append((name, token, wanted.holder))
        self.before_last_renewal.pop(name, None)
        taken = row(
            name=name,
            holder=wanted.holder,
            request_id=wanted.request_id,
            token=token,
            timeline=self.timeline,
            ttl_seconds=wanted.ttl_seconds,
            version=seen.version + 1 if seen else 1,
        )
        return self._write(replace(taken, metadata=wanted.metadata), now + wanted.ttl_seconds, now)

    def renew(self, term: TermKey, now: float, metadata: Mapping[str, object] | None = None) -> Renewed | Over:
        seen = self.read(term.name, now)
        if seen is None or (seen.holder, seen.token) != (term.holder, term.token):
            return Over(seen)
        if not seen.running and not rules.on_older_timeline(seen.timeline, self.timeline):
            return Over(seen)
        self.before_last_renewal[term.name] = self.rows[term.name]
        kept = replace(seen, timeline=self.timeline)
        if metadata is not None and metadata != seen.metadata:
            kept = replace(kept, metadata=metadata, version=seen.version + 1)
        return Renewed(self._write(kept, now + seen.ttl_seconds, now), now)

    def ask_to_step_down(self, name: str, how: StepDown, now: float) -> Row | None:
        seen = self.read(name, now)
        if seen is None or not seen.running:
            return None
        return self._write(replace(seen, step_down=how, version=seen.version + 1), now + seen.valid_for_seconds, now)

    def release(self, term: TermKey, now: float, how: StepDown = AT_ONCE) -> Released | Over:
        seen = self.read(term.name, now)
        if seen is None or seen.token != term.token or seen.holder not in {term.holder, None}:
            return Over(seen)
        self.before_last_renewal.pop(term.name, None)
        if seen.holder is None:
            return Released(seen)
        self.hold_offs[term.name] = (now + how.hold_off_seconds, term.holder, how.preferred)
        freed = replace(seen, holder=None, step_down=None, version=seen.version + 1)
        return Released(self._write(freed, min(now, self.rows[term.name][1]), now))

    def read(self, name: str, now: float) -> Row | None:
        if name not in self.rows:
            return None
        kept, ends_at = self.rows[name]
        until, stepped_down, preferred = self.hold_offs.get(name, (now, "", None))
        held_off = HoldOff(until - now, stepped_down, preferred) if until > now and kept.holder is None else None
        return replace(kept, valid_for_seconds=ends_at - now, held_off=held_off)

    def _write(self, kept: Row, ends_at: float, now: float) -> Row:
        self.rows[kept.name] = (kept, ends_at)
        return replace(kept, valid_for_seconds=ends_at - now)

    def forget(self, name: str, *, sequence_too: bool) -> None:
        """Lose a row, as by an operator's DELETE; perhaps the sequence too, as by DROP SCHEMA."""
        self.rows.pop(name, None)
        self.before_last_renewal.pop(name, None)
        if sequence_too:
            self._sequence, self.forgotten = 0, True

    def fail_over(self, *, losing_renewals: bool) -> None:
        """Go on on a standby, which may lack the last renewal of each term."""
        self.timeline += 1
        if losing_renewals:
            self.rows |= self.before_last_renewal
        self.before_last_renewal.clear()


class TableStore:
    """A Store over a Table. Answers at once, unless *before_answer* has it otherwise: it may wait, or raise."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self.table = table
        self.clock = clock
        self.calls: list[str] = []
        self.opened = False
        self.closed = False
        self.prepare_errors: list[Exception] = []
        self.before_doing: Callable[[str], None] = lambda call: None
        self.timeline = table.timeline
        self.before_answer: dict[str, asyncio.Future[None]] = {}

    async def open(self) -> None:
        self.opened = True

    async def prepare(self) -> None:
        if self.prepare_errors:
            raise self.prepare_errors.pop(0)

    async def close(self) -> None:
        self.closed = True

    async def acquire(
        self, wish: Wanted, *, floor: int, earlier_token: int | None, deadline: float
    ) -> Granted | HeldBy | Spent:
        self._call("acquire")
        now = self.clock.boottime()
        done = self.table.acquire(wish, now, floor=floor, earlier_token=earlier_token)
        await self._wait("acquire")
        return done

    async def renew(
        self,
        term: TermKey,
        *,
        metadata: Mapping[str, object] | None = None,
        attempt_seconds: float = 2.0,
        deadline: float,
    ) -> Renewed | Over:
        self._call("renew")
        done = self.table.renew(term, self.clock.boottime(), metadata)
        await self._wait("renew")
        return done

    async def release(self, term: TermKey, how: StepDown = AT_ONCE, *, deadline: float) -> Released | Over:
        self._call("release")
        return self.table.release(term, self.clock.boottime(), how)

    async def ask_to_step_down(self, name: str, how: StepDown, *, deadline: float) -> Row | None:
        self._call("ask")
        return self.table.ask_to_step_down(name, how, self.clock.boottime())

    async def read_some(self, names: Sequence[str], *, deadline: float) -> Sequence[Row]:
        self._call("read_some")
        rows = [self.table.read(name, self.clock.boottime()) for name in names]
        return [found for found in rows if found is not None]

    async def read(self, name: str, *, deadline: float) -> Row | None:
        self._call("read")
        return self.table.read(name, self.clock.boottime())

    async def read_all(self, *, after: str, prefix: str, limit: int, deadline: float) -> Sequence[Row]:
        self._call("read_all")
        names = sorted(name for name in self.table.rows if name > after and name.startswith(prefix))
        rows = [self.table.read(name, self.clock.boottime()) for name in names[:limit]]
        return [found for found in rows if found is not None]

    def _call(self, call: str) -> None:
        self.calls.append(call)
        self.before_doing(call)

    async def _wait(self, call: str) -> None:
        if call in self.before_answer:
            await self.before_answer[call]
