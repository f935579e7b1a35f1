"""A session of a pool that has `retry`: keeps the answer of a refused statement back, and sends the statement again."""

import asyncio
import logging
import random
from time import monotonic
from typing import Any, Final

from poolguard.core.errors import PoolguardError, ShuttingDown
from poolguard.relay.laned import LanedSession
from poolguard.relay.pipe import IDLE, SWALLOW
from poolguard.relay.retry import is_error, is_one_statement, lone_statement, may_repeat, read_answer, without_prefix
from poolguard.relay.server import Server
from poolguard.relay.statements import Statement
from poolguard.settings.policies import PolicyMode
from poolguard.wire.fingerprint import fingerprint
from poolguard.wire.text import PLAIN

log = logging.getLogger(__name__)

_QUERY: Final = b"Q"[0]
SHORTEST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 0.2
"""Seconds before the next try, drawn by lot: those who met shall not meet again."""


class Attempt:
    """One statement that went out with nothing before or behind it, and how often it has been refused."""

    __slots__ = ("code", "data", "is_batch", "kept", "refusals", "since", "sql", "timer")

    def __init__(self, data: bytes, sql: bytes, since: float, *, is_batch: bool) -> None:
        self.data = data
        """As the client said it: prepared statements by its own names."""
        self.sql = sql
        self.is_batch = is_batch
        self.since = since
        self.refusals = 0
        self.code = ""
        """The SQLSTATE of the latest refusal."""
        self.kept = b""
        """The refusal that the client has not been told yet."""
        self.timer: asyncio.TimerHandle | None = None


def _is_at_rest(server: Server) -> bool:
    """Whether nothing of the client's is going on there.

    What poolguard itself sends ahead is SET; or BEGIN, and then the answer will not end in `I`.
    """
    return server.status == IDLE and all(owed is SWALLOW for owed in server.replies)


class RetryingSession(LanedSession):
    """See `retry.py` for when. What is not plain is not tried again."""

    __slots__ = ("attempt",)

    def __init__(self, **parts: Any) -> None:
        self.attempt: Attempt | None = None
        """What is under way and may be sent again."""
        super().__init__(**parts)

    def start(self, server: Server, data: bytes, now: float, sql: bytes, parse: bytes | None) -> None:
        """Remember what is sent, if it is all that is going on."""
        attempt = self.attempt
        if attempt is None or attempt.timer is None:
            is_batch = parse is not None
            own = without_prefix(data, is_batch=is_batch)
            self.attempt = Attempt(own, sql, now, is_batch=is_batch) if _is_at_rest(server) and not self.pin else None
        super().start(server, data, now, sql, parse)

    def walk(self, data: bytes, prefix: bytes = b"") -> None:
        """Remember what is said off the hot path, if it is all that is going on: prepared statements, or in a lane."""
        attempt = self.attempt
        if attempt is None or attempt.timer is None:
            self.attempt = self._attempt_at(data)
        super().walk(data, prefix)

    def plainly_bound(self, data: bytes) -> Statement | None:
        """None, so that prepared statements are walked, and remembered there."""
        return None

    def _attempt_at(self, data: bytes) -> Attempt | None:
        if self.pin or self.carry or self.block or self.skipping or self.unsynced or self.unsure:
            return None
        if (self.server is not None and not _is_at_rest(self.server)) or (lone := lone_statement(data)) is None:
            return None
        sql = lone.sql
        if lone.name:
            statement = self.statements.get(lone.name)
            if statement is None or statement.verdict is not PLAIN:
                return None
            sql = statement.text
        return Attempt(data, sql, monotonic(), is_batch=data[0] != _QUERY)

    def deliver(self, data: bytes) -> None:
        """Keep a refusal back if the statement may be tried again."""
        attempt = self.attempt
        if attempt is not None:
            data = attempt.kept + data
            code, complete = read_answer(data)
            if code is not None and (not complete or self._retries(attempt, code)):
                attempt.kept, attempt.code = data, code
                return
            if attempt.refusals and not is_error(data):
                self._count(attempt.code, "healed")
            self.attempt = None
        super().deliver(data)

    def settled(self, status: int, now: float) -> None:
        """Instead of giving the server back, wait a moment for the next try."""
        attempt = self.attempt
        if attempt is None or not attempt.kept:
            super().settled(status, now)
            return
        attempt.refusals += 1
        pause = random.uniform(SHORTEST_PAUSE, LONGEST_PAUSE)  # noqa: S311 - no secret
        attempt.timer = asyncio.get_running_loop().call_later(pause, self._again)
        self.gate = self.interrupted

    def _retries(self, attempt: Attempt, code: str) -> bool:
        """Whether *attempt*, refused with *code*, is to be sent again; counted either way."""
        settings = self.pool.settings.retry
        if settings is None or self.draining or self.closed or self.unsynced:
            return False
        if not may_repeat(attempt.sql) or (attempt.is_batch and not is_one_statement(attempt.data)):
            self._count(code, "unfit")
            return False
        if settings.mode is PolicyMode.OBSERVE:
            self._count(code, "observed")
            return False
        waited = monotonic() - attempt.since
        if attempt.refusals >= settings.attempts or waited + LONGEST_PAUSE > self.pool.settings.wait_timeout:
            self._count(code, "given_up")
            return False
        self._count(code, "retried")
        log.info(
            "a statement is sent again after PostgreSQL refused it",
            extra={
                "pool": self.pool.name,
                "sqlstate": code,
                "fingerprint": fingerprint(attempt.sql).id,
                "application_name": self.entry.application_name,
                "attempt": attempt.refusals + 1,
            },
        )
        return True

    def _count(self, code: str, outcome: str) -> None:
        self.counters.retries_total[self.pool.name, code, outcome] += 1

    def _again(self) -> None:
        attempt = self.attempt
        if attempt is None or attempt.timer is None or self.server is None:
            return
        attempt.kept = b""
        self.regate()
        self.data_received(attempt.data)  # as the first time, on the same server
        attempt.timer = None

    def interrupted(self, data: bytes) -> None:
        """The client says something while its statement waits for the next try: it is told of the refusal first."""
        self.give_up()
        self.data_received(data)

    def give_up(self) -> None:
        """There will be no next try: if one was waited for, tell the client of the refusal. Safe to repeat."""
        attempt, self.attempt = self.attempt, None
        if attempt is None:
            return
        if attempt.kept and not self.closed:
            super().deliver(attempt.kept)
        if attempt.timer is not None:
            attempt.timer.cancel()
            self.regate()
            if self.server is not None:
                self.settled(self.server.status, monotonic())

    def cancel_seen(self) -> None:
        """Whoever cancels a statement does not want it tried again."""
        self.give_up()

    def drain(self, why: ShuttingDown) -> None:
        """A try that waits is not waited for."""
        self.draining = why
        self.give_up()
        if not self.closed:
            super().drain(why)

    def server_lost(self, error: PoolguardError | None) -> None:
        """Nothing is left to try it on."""
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            if attempt.timer is not None:
                attempt.timer.cancel()
                self.regate()
            super().deliver(attempt.kept)
        super().server_lost(error)

    def leave(self, *, patience: float = 0.0, vanished: bool = False) -> None:
        """End the session; nobody waits for the answer any more."""
        attempt, self.attempt = self.attempt, None
        if attempt is not None and attempt.timer is not None:
            attempt.timer.cancel()
        super().leave(patience=patience, vanished=vanished)
