"""The one connection that looks at locks: polls, collects when there is reason to, and publishes. A `Service`.

Never a server of a pool: it must see when all of those are stuck. It is opened when poolguard starts and again
whenever it is lost; without it everything else goes on, and the graph is empty.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import conninfo
from psycopg.rows import DictRow, dict_row

from poolguard.core.clock import Clock
from poolguard.guard.locks import queries
from poolguard.guard.locks.backends import Backend, Identity, Wait
from poolguard.guard.locks.graph import LockGraph, build
from poolguard.guard.locks.pace import Pace
from poolguard.guard.locks.reading import backends_of, gids_of, waits_of, waits_of_locks
from poolguard.guard.locks.state import LockState, Tier
from poolguard.ledger.facts import Transaction
from poolguard.ledger.hands import Outcome

log = logging.getLogger(__name__)

APPLICATION_NAME: Final = "poolguard-observer"
ANSWER_SECONDS: Final = 3.0
"""PostgreSQL ends each statement after 250 ms by itself; if it says nothing for this long, the connection is closed."""
CONFIRM_SECONDS: Final = 5.0
"""How long a backend may take to obey a signal: one that undoes a lot takes longer, and is tried again."""
CONFIRM_PAUSE: Final = 0.05
TIER_SECONDS: Final = 60.0
"""How often it asks what its role has been granted: a GRANT tells nobody."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
REASON_CHARACTERS: Final = 300
_ABANDON_TURNS: Final = 10
_ROWS_A_TURN: Final = 500
"""How many rows are read before others have their turn."""
_CONNECTION: Final = {
    "application_name": APPLICATION_NAME,
    "client_encoding": "UTF8",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}


class Observer:
    """Looks at who waits for whom every *interval* seconds. *then* is awaited after each look, if somebody waits."""

    def __init__(
        self,
        dsn: str,
        state: LockState,
        *,
        clock: Clock,
        transactions: Callable[[float], Sequence[Transaction]],
        interval: float = 2.0,
        then: Callable[[], Awaitable[None]] | None = None,
        password: Callable[[], str | None] = lambda: None,
    ) -> None:
        """*password* gives the one for the next connection; None: that of *dsn*."""
        self._password = password
        self._dsn = dsn
        self._clock = clock
        self._transactions = transactions
        self._interval = interval
        self._then = then
        self._pace = Pace(interval)
        self._tier_at = 0.0
        """When the role's privileges were read (monotonic)."""
        self._task: asyncio.Task[None] | None = None
        self._connection: psycopg.AsyncConnection[DictRow] | None = None
        self.state: Final = state

    @property
    def name(self) -> str:
        """The service's name."""
        return "observer"

    async def start(self) -> None:
        """Begin; PostgreSQL need not be there yet."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self.name)

    async def drain(self, deadline: float) -> None:
        """Nothing of ours has to finish."""

    async def stop(self) -> None:
        """End, and close the connection."""
        task, self._task = self._task, None
        if task is not None:
            # psycopg answers the first cancellation by politely asking PostgreSQL; the next one makes it stop.
            for _ in range(_ABANDON_TURNS):
                task.cancel()
                await asyncio.sleep(0)
                if task.done():
                    break
            await asyncio.gather(task, return_exceptions=True)
        await self._disconnect()

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self.connect()
                pause = FIRST_PAUSE
                while True:
                    await self._clock.sleep_until(self._clock.monotonic() + self._interval)
                    async with asyncio.timeout(ANSWER_SECONDS):
                        await self.look()
                        await self.look_at_tier()
                    if self._then is not None and self.state.graph.waiters:
                        await self._then()
            except (psycopg.Error, TimeoutError, OSError) as error:
                self.state.failures_total += 1
                if pause == FIRST_PAUSE:
                    log.warning(
                        "the lock graph can't be read: who waits for whom is not known until PostgreSQL answers",
                        extra={"reason": _told(error), "sqlstate": getattr(error, "sqlstate", None)},
                    )
                await self._disconnect()
                await self._clock.sleep_until(self._clock.monotonic() + pause)
                pause = min(LONGEST_PAUSE, pause * 2)

    async def connect(self) -> None:
        """Open the connection and find out what our role may see. Raises psycopg.Error, TimeoutError."""
        given = {key: str(value) for key, value in conninfo.conninfo_to_dict(self._dsn).items() if value is not None}
        if (password := self._password()) is not None:
            given["password"] = password
        async with asyncio.timeout(2 * ANSWER_SECONDS):
            self._connection = await psycopg.AsyncConnection.connect(
                conninfo.make_conninfo(**{**given, **_CONNECTION}),
                autocommit=True,
                prepare_threshold=None,
                row_factory=dict_row,
            )
            for statement in queries.SESSION:
                await self._connection.execute(statement.encode())
            self.state.tier = await self._ask_tier(self._connection)
        self.state.connected = True
        self._log_tier("the observer is connected")

    async def _ask_tier(self, connection: psycopg.AsyncConnection[DictRow]) -> Tier:
        (row,) = await self._ask(queries.PRIVILEGES)
        self._tier_at = self._clock.monotonic()
        return Tier(
            server_version=row["version_text"],
            sees_all=row["superuser"] or row["sees_all"],
            may_signal=row["superuser"] or row["may_signal"],
            pid_opaque=row["pid"] != connection.info.backend_pid,
        )

    async def look_at_tier(self) -> None:
        """Find out, each `TIER_SECONDS`, what our role has been granted or lost since. Raises psycopg.Error."""
        if self._connection is None or self._clock.monotonic() - self._tier_at < TIER_SECONDS:
            return
        tier = await self._ask_tier(self._connection)
        if tier != self.state.tier:
            self.state.tier = tier
            self._log_tier("what the observer may see and end has changed")

    def _log_tier(self, message: str) -> None:
        tier = self.state.tier
        log.info(message, extra={"privilege_tier": tier.name, "pid_opaque": tier.pid_opaque})

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self.state.connected = False
        self.state.publish(LockGraph(), self._clock.wall())
        if connection is not None:
            await connection.close()

    async def look(self) -> None:
        """Poll once, and collect if there is reason to. Raises psycopg.Error."""
        now = self._clock.monotonic()
        waiters = [row["pid"] for row in await self._ask(queries.WAITERS)]
        transactions = self._transactions(now)
        longest = max((transaction.statement_seconds for transaction in transactions), default=0.0)
        if self._pace.should_collect(now, waiters=len(waiters), longest_statement=longest):
            graph = await self._collect(waiters, transactions)
            ended = self._clock.monotonic()
            self._pace.collected(ended, ended - now)
            self.state.collect_seconds.observe(ended - now)
            self.state.publish(graph, self._clock.wall())
        elif not waiters and self.state.graph.waiters:
            self.state.publish(LockGraph(), self._clock.wall())

    async def _collect(self, waiters: list[int], transactions: Iterable[Transaction]) -> LockGraph:
        if len(waiters) <= queries.MANY_WAITERS:
            waits = await self._ask_for_each(waiters)
        else:
            rows = await self._ask(queries.LOCKS)
            prepared = await self._prepared() if any(row["pid"] is None for row in rows) else {}
            waits = waits_of_locks(rows, prepared)
            await asyncio.sleep(0)  # some milliseconds for a thousand waiters, and as many again for their graph
        pids = {wait.pid for wait in waits} | {node.pid for wait in waits for node in wait.blockers} - {0}
        ours = {} if self.state.tier.pid_opaque else {t.backend_pid: t for t in transactions}
        backends = await self.backends(pids, ours)
        leaders = {backend.leader_pid for backend in backends.values()} - {0} - backends.keys()
        return build(waits, backends | await self.backends(leaders, ours) if leaders else backends)

    async def backends(self, pids: Iterable[int], ours: Mapping[int, Transaction] | None = None) -> dict[int, Backend]:
        """What *pids* do now; those that are gone are left out. Raises psycopg.Error."""
        found: dict[int, Backend] = {}
        rows = await self._ask(queries.BACKENDS, {"pids": sorted(pids)})
        for start in range(0, len(rows), 20):  # a fingerprint may take most of what the relay can wait for
            found |= backends_of(rows[start : start + 20], ours or {})
            await asyncio.sleep(0)
        return found

    async def _ask_for_each(self, waiters: list[int]) -> list[Wait]:
        rows = await self._ask(queries.BLOCKERS, {"pids": waiters})
        behind_prepared = [row["pid"] for row in rows if 0 in row["blockers"]]
        gids = {}
        if behind_prepared:
            prepared = await self._prepared()
            gids = gids_of(await self._ask(queries.PREPARED_BLOCKERS, {"pids": behind_prepared}), prepared)
        return waits_of(rows, gids)

    async def _prepared(self) -> dict[str, str]:
        return {row["virtualtransaction"]: row["gid"] for row in await self._ask(queries.PREPARED)}

    async def signal(self, identity: Identity, *, terminate: bool) -> bool:
        """End what a foreign backend does, if it still does what *identity* says.

        True: the signal was sent. False: it has moved on, or is a superuser's. Raises psycopg.Error, 42501
        (insufficient_privilege) without pg_signal_backend.
        """
        values = {
            "pid": identity.pid,
            "backend_start": identity.backend_start,
            "xact_start": identity.xact_start,
            "state_change": identity.state_change,
            "state": identity.state,
        }
        async with asyncio.timeout(ANSWER_SECONDS):
            rows = await self._ask(queries.TERMINATE if terminate else queries.CANCEL, values)
        return any(row["signalled"] for row in rows)

    async def end(self, identity: Identity, *, terminate: bool) -> Outcome:
        """`signal`, and look again until it has had its effect: at most `CONFIRM_SECONDS`, then FAILED.

        NO_PRIVILEGE also where what it does can't be seen: whoever can't see it can't say that it is still the same.
        """
        if not identity.state:
            return Outcome.NO_PRIVILEGE
        try:
            if not await self.signal(identity, terminate=terminate):
                return Outcome.VICTIM_MOVED
            deadline = self._clock.monotonic() + CONFIRM_SECONDS
            while await self._goes_on(identity, terminate=terminate):
                if self._clock.monotonic() >= deadline:
                    return Outcome.FAILED
                await self._clock.sleep_until(self._clock.monotonic() + CONFIRM_PAUSE)
        except psycopg.errors.InsufficientPrivilege:
            return Outcome.NO_PRIVILEGE
        except (psycopg.Error, TimeoutError, OSError) as error:
            code = getattr(error, "sqlstate", None)
            log.warning(
                "a backend could not be ended, or not seen to end",
                extra={"pid": identity.pid, "reason": type(error).__name__, "sqlstate": code},
            )
            return Outcome.FAILED
        return Outcome.DONE

    async def _goes_on(self, identity: Identity, *, terminate: bool) -> bool:
        async with asyncio.timeout(ANSWER_SECONDS):
            now = (await self.backends([identity.pid])).get(identity.pid)
        if now is None or now.identity.backend_start != identity.backend_start:
            return False
        return terminate or now.identity == identity

    async def _ask(self, sql: str, values: Mapping[str, Any] | None = None) -> list[DictRow]:
        connection = self._connection
        if connection is None:
            raise psycopg.OperationalError("the observer is not connected")
        cursor = await connection.execute(sql.encode(), values or {})
        rows: list[DictRow] = []
        while some := await cursor.fetchmany(_ROWS_A_TURN):
            rows += some
            await asyncio.sleep(0)
        return rows


def _told(error: Exception) -> str:
    """*error* in one line; libpq never puts a password in one, and the statements are our own."""
    return " ".join((type(error).__name__, *str(error).split()))[:REASON_CHARACTERS]
