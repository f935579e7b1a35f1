"""The leases in PostgreSQL: each request on a connection of its own few, tried again while that can't do harm."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import psycopg

from poolguard.core.clock import Clock
from poolguard.core.errors import LeaseUnavailable, LeaseUnknown
from poolguard.lease import rules, statements
from poolguard.lease.connection import Fault, LeaseConnection, as_given, fault_of, told
from poolguard.lease.line import AttemptTimeout, Line, NoConnection
from poolguard.lease.setup import PRINT_SCHEMA, Found, Setup
from poolguard.lease.statements import Statements
from poolguard.lease.terms import AT_ONCE, Row, StepDown, TermKey, Wanted
from poolguard.settings.model import Leases

T = TypeVar("T")
log = logging.getLogger(__name__)
Work = Callable[[LeaseConnection], Awaitable[T]]

ATTEMPT_SECONDS: Final = 2.0
"""What one attempt may take before its connection is given up and the next one is tried."""
MIN_ATTEMPT_SECONDS: Final = 0.5
"""Not less, however little trust is left: a renewal that comes late is still worth having."""
_PREPARE_SECONDS: Final = 15.0
_MAX_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class Granted:
    """The term is the caller's. *sent_at* is on `Clock.boottime`, from before PostgreSQL was asked."""

    row: Row
    sent_at: float
    replayed: bool
    """The same wish had been granted before."""


@dataclass(frozen=True, slots=True)
class HeldBy:
    """Somebody else's term runs, or the last one's hold-off does (then `row.held_off` is there)."""

    row: Row


@dataclass(frozen=True, slots=True)
class Spent:
    """The same wish was granted before, and that term is over."""

    row: Row | None


@dataclass(frozen=True, slots=True)
class Renewed:
    """The term runs on."""

    row: Row
    sent_at: float


@dataclass(frozen=True, slots=True)
class Over:
    """The term that was named does not run any more, or never did; *row* is what there is now."""

    row: Row | None


@dataclass(frozen=True, slots=True)
class Released:
    """The term is over and the name free, by this request or an earlier one."""

    row: Row


class Store(Protocol):
    """What the manager asks of the store. Every call may raise LeaseUnavailable; those that write, LeaseUnknown.

    *deadline* is on the monotonic clock.
    """

    @property
    def timeline(self) -> int:
        """WAL timeline in the high bits of tokens; 0: it can't be read, or nothing was asked yet."""
        ...

    async def open(self) -> None:
        """Begin to connect; returns at once."""
        ...

    async def prepare(self) -> None:
        """Return once the table can be used; creates it if that is wanted."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...

    async def acquire(
        self, wish: Wanted, *, floor: int, earlier_token: int | None, deadline: float
    ) -> Granted | HeldBy | Spent:
        """Begin a term if nobody's runs; its token is above *floor*."""
        ...

    async def renew(
        self,
        term: TermKey,
        *,
        metadata: Mapping[str, object] | None = None,
        attempt_seconds: float = ATTEMPT_SECONDS,
        deadline: float,
    ) -> Renewed | Over:
        """Let exactly *term* run for its whole time to live again; *metadata*, if given, replaces what was kept."""
        ...

    async def release(self, term: TermKey, how: StepDown = AT_ONCE, *, deadline: float) -> Released | Over:
        """End exactly *term*; again does no harm. Wakes those who watch."""
        ...

    async def ask_to_step_down(self, name: str, how: StepDown, *, deadline: float) -> Row | None:
        """Leave word for whoever holds *name* now; None: nobody does. Wakes those who watch."""
        ...

    async def read(self, name: str, *, deadline: float) -> Row | None:
        """Return the lease as it stands."""
        ...

    async def read_some(self, names: Sequence[str], *, deadline: float) -> Sequence[Row]:
        """Return those of *names* that exist, in any order."""
        ...

    async def read_all(self, *, after: str, prefix: str, limit: int, deadline: float) -> Sequence[Row]:
        """Return the leases by name, from the first one past *after*."""
        ...


class LeaseStore:
    """The Store on PostgreSQL. *conninfo* is a libpq URL or conninfo; raises SettingsError if it can't be read.

    *password* gives the one for the next connection; None: that of *conninfo*.
    """

    def __init__(
        self, conninfo: str, settings: Leases, clock: Clock, password: Callable[[], str | None] = as_given
    ) -> None:
        self._schema: Final = settings.schema
        self._grace: Final = settings.failover_grace
        self._sql: Final = Statements(settings.schema)
        self._setup: Final = Setup(settings, self._sql)
        self._clock: Final = clock
        self._line: Final = Line(conninfo, settings.connections, password)

    @property
    def timeline(self) -> int:
        """WAL timeline of the newest connection; 0: this PostgreSQL does not tell it."""
        return self._line.timeline

    async def open(self) -> None:
        """Begin to connect; connections that break are replaced in the background until close()."""
        await self._line.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._line.close()

    async def prepare(self) -> None:
        """Make sure that the table can be used. Raises LeaseUnavailable that says what the operator can do."""
        deadline = self._clock.monotonic() + _PREPARE_SECONDS

        async def run(work: Work[T]) -> T:
            return await self._run(work, deadline=deadline, attempt_seconds=_PREPARE_SECONDS)

        found = await run(self._setup.found)
        if self._setup.must_create(found):
            try:
                await run(self._setup.create)
            except LeaseUnavailable as error:
                if found is not Found.NO_FENCE:
                    raise
                log.warning("the function that fences transactions is missing", extra={"reason": error.detail})

    async def acquire(
        self, wish: Wanted, *, floor: int, earlier_token: int | None, deadline: float
    ) -> Granted | HeldBy | Spent:
        """Begin a term if nobody's runs. A lost answer is found again: the wish carries its own id."""

        async def work(connection: LeaseConnection) -> Granted | HeldBy | Spent:
            names = list(wish.slot_names)
            while True:
                sent_at = self._clock.boottime()
                found = {row.name: row for row in await self._some(connection, names)}
                name, decision = rules.pick(
                    {name: found.get(name) for name in names},
                    wish,
                    timeline=connection.timeline,
                    earlier_token=earlier_token,
                    grace=self._grace,
                )
                if not isinstance(decision, rules.Take | rules.Grace):
                    return _answer(decision, found.get(name), sent_at)
                answer = await self._take(connection, wish, name, floor=floor, earlier_token=earlier_token)
                names.remove(name)
                if not isinstance(answer, HeldBy) or not names:
                    return answer

        return await self._run(work, deadline=deadline)

    async def _take(
        self, connection: LeaseConnection, wish: Wanted, name: str, *, floor: int, earlier_token: int | None
    ) -> Granted | HeldBy | Spent:
        async with connection.transaction():
            await connection.execute(self._sql.introduce, {"name": name})
            await connection.execute(self._sql.lock, {"name": name})
            sent_at = self._clock.boottime()
            row = await self._one(connection, self._sql.read, {"name": name})
            if row is None:
                raise LeaseUnavailable("the lease's row was deleted by somebody in this very moment")
            decision = rules.judge(
                row, wish, timeline=connection.timeline, earlier_token=earlier_token, grace=self._grace
            )
            parameters = statements.of_wish(wish, name, timeline=connection.timeline, floor=floor)
            match decision:
                case rules.Take():
                    taken = await self._one(connection, self._sql.take, parameters)
                    assert taken is not None, "a locked row can't vanish"
                    return Granted(taken, sent_at, replayed=False)
                case rules.Grace():
                    spared = await self._one(connection, self._sql.grace, parameters)
                    assert spared is not None, "a locked row can't vanish"
                    return HeldBy(spared)
                case _:
                    return _answer(decision, row, sent_at)

    async def renew(
        self,
        term: TermKey,
        *,
        metadata: Mapping[str, object] | None = None,
        attempt_seconds: float = ATTEMPT_SECONDS,
        deadline: float,
    ) -> Renewed | Over:
        """Let *term* run on, if PostgreSQL's clock, read once the row is ours, says that it still runs."""

        async def work(connection: LeaseConnection) -> Renewed | Over:
            parameters = statements.of_term(term, timeline=connection.timeline, grace=self._grace, metadata=metadata)
            sent_at = self._clock.boottime()
            try:
                async with psycopg.AsyncClientCursor(connection) as cursor:
                    await cursor.execute(self._sql.renew, parameters)
                    cursor.nextset()
                    renewed = _row(await cursor.fetchone())
                if renewed is not None:
                    return Renewed(renewed, sent_at)
            except psycopg.errors.LockNotAvailable:
                row = await self._one(connection, self._sql.read, {"name": term.name})
                if row is not None and _is(row, term) and row.running:
                    raise
                return Over(row)
            return Over(await self._one(connection, self._sql.read, {"name": term.name}))

        return await self._run(work, deadline=deadline, attempt_seconds=attempt_seconds)

    async def release(self, term: TermKey, how: StepDown = AT_ONCE, *, deadline: float) -> Released | Over:
        """End *term* now; the row stays, and its token with it."""

        async def work(connection: LeaseConnection) -> Released | Over:
            released = await self._one(connection, self._sql.release, statements.of_term(term, how=how))
            if released is not None:
                return Released(released)
            row = await self._one(connection, self._sql.read, {"name": term.name})
            if row is not None and row.holder is None and row.token == term.token:
                return Released(row)
            return Over(row)

        return await self._run(work, deadline=deadline)

    async def ask_to_step_down(self, name: str, how: StepDown, *, deadline: float) -> Row | None:
        """Leave word for whoever holds *name* now; None: nobody does."""

        async def work(connection: LeaseConnection) -> Row | None:
            return await self._one(connection, self._sql.ask, statements.of_step_down(name, how))

        return await self._run(work, deadline=deadline)

    async def read(self, name: str, *, deadline: float) -> Row | None:
        """Return the lease as it stands; None if nobody has ever held it."""

        async def work(connection: LeaseConnection) -> Row | None:
            return await self._one(connection, self._sql.read, {"name": name})

        return await self._run(work, deadline=deadline, writes=False)

    async def read_some(self, names: Sequence[str], *, deadline: float) -> Sequence[Row]:
        """Return those of *names* that exist, in any order."""

        async def work(connection: LeaseConnection) -> Sequence[Row]:
            return await self._some(connection, names)

        return await self._run(work, deadline=deadline, writes=False)

    async def read_all(self, *, after: str, prefix: str, limit: int, deadline: float) -> Sequence[Row]:
        """Return up to *limit* leases whose names begin with *prefix* and come after *after*, by name."""

        async def work(connection: LeaseConnection) -> Sequence[Row]:
            found = await connection.execute(self._sql.read_all, {"after": after, "prefix": prefix, "limit": limit})
            return [statements.row_of(record) for record in await found.fetchall()]

        return await self._run(work, deadline=deadline, writes=False)

    async def _one(self, connection: LeaseConnection, statement: object, parameters: dict[str, object]) -> Row | None:
        return _row(await (await connection.execute(statement, parameters)).fetchone())  # type: ignore[call-overload]

    async def _some(self, connection: LeaseConnection, names: Sequence[str]) -> Sequence[Row]:
        found = await connection.execute(self._sql.read_some, {"names": list(names)})
        return [statements.row_of(record) for record in await found.fetchall()]

    async def _run(
        self,
        work: Work[T],
        *,
        deadline: float,
        writes: bool = True,
        attempt_seconds: float = ATTEMPT_SECONDS,
    ) -> T:
        """Carry out *work*, again after faults of the connection: every piece of work may be repeated safely."""
        maybe_done, last = False, "no time was left"
        for _ in range(_MAX_ATTEMPTS):
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                break
            try:
                return await self._line.use(work, wait_seconds=remaining, seconds=min(remaining, attempt_seconds))
            except NoConnection as error:
                last = str(error)
                break
            except AttemptTimeout:
                maybe_done, last = writes, f"no answer within {attempt_seconds:g}s"
            except psycopg.Error as error:
                fault, last = fault_of(error), told(error)
                maybe_done |= writes and fault is Fault.GONE
                if fault in _FINAL:
                    if maybe_done:
                        break
                    raise self._final(fault, last) from error
        if maybe_done:
            raise LeaseUnknown(
                "PostgreSQL did not answer: whether the lease was changed is unknown",
                detail=last,
                hint="Repeat the same request: with the same token or requestId that is always safe.",
            )
        raise LeaseUnavailable("PostgreSQL can't be asked about leases: nothing was changed", detail=last)

    def _final(self, fault: Fault, last: str) -> LeaseUnavailable:
        match fault:
            case Fault.LOCKED:
                return LeaseUnavailable(
                    "another transaction keeps the lease's row locked: nothing was changed",
                    detail=last,
                    hint="A transaction fenced by the last term may still run. Try again.",
                )
            case Fault.NO_SCHEMA:
                return LeaseUnavailable(
                    f"the lease table in schema {self._schema!r} is missing, outdated or not ours to use",
                    detail=last,
                    hint=PRINT_SCHEMA,
                )
            case _:
                return LeaseUnavailable("PostgreSQL refused: nothing was changed", detail=last)


_FINAL: Final = frozenset({Fault.LOCKED, Fault.NO_SCHEMA, Fault.REFUSED})


def _answer(decision: rules.Decision, row: Row | None, sent_at: float) -> Granted | HeldBy | Spent:
    match decision:
        case rules.Replay():
            assert row is not None, "only a row can be replayed"
            return Granted(row, sent_at, replayed=True)
        case rules.Held() | rules.Wait():
            assert row is not None, "only a row can be held"
            return HeldBy(row)
        case rules.Spent():
            return Spent(row)
        case _:
            raise AssertionError(f"{decision} is carried out under the lock")


def _row(record: Mapping[str, Any] | None) -> Row | None:
    return None if record is None else statements.row_of(record)


def _is(row: Row, term: TermKey) -> bool:
    return (row.name, row.holder, row.token) == (term.name, term.holder, term.token)
