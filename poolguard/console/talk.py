"""One conversation with the console: a client's messages in, replies out, in both protocols (PostgreSQL docs, 55.2)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from poolguard.console.answers import columns_of
from poolguard.console.encoding import PORTAL_SUSPENDED, TEXT, Column, data_row, row_description
from poolguard.console.requests import Bind, read_bind, read_execute, read_named, read_parse, read_query
from poolguard.console.statements import Command, Forget, Kill, Nothing, NotUnderstood, Show, read
from poolguard.console.tables import Row, Table
from poolguard.core.errors import ClientViolation, NotSupported, PoolguardError
from poolguard.wire import messages

SLICE_SECONDS: Final = 0.002
"""For how long rows are made before the event loop turns. Sessions must never wait for 5 ms."""
MOST_NAMES: Final = 100
"""Prepared statements that a client may have, and portals."""

_COPY: Final = frozenset(b"dcf")
_IDLE, _IN_BLOCK = b"IT"


class NameUnknown(ClientViolation):
    """No prepared statement (26000), or no portal (34000), of that name."""

    def __init__(self, *, portal: bool) -> None:
        super().__init__(f"no such {'portal' if portal else 'prepared statement'}")
        self.sqlstate = "34000" if portal else "26000"


class NameTaken(ClientViolation):
    """There is a prepared statement (42P05), or a portal (42P03), of that name."""

    def __init__(self, *, portal: bool) -> None:
        super().__init__(f"there is a {'portal' if portal else 'prepared statement'} of that name")
        self.sqlstate = "42P03" if portal else "42P05"


class TooManyNames(ClientViolation):
    """More prepared statements, or portals, than a client may have (54000)."""

    sqlstate = "54000"


@dataclass(slots=True)
class _Portal:
    command: Command | None
    """None: an empty statement."""
    formats: tuple[int, ...]
    table: Table | None = None
    rows: Iterator[Row] | None = None
    """Those that have not been fetched, once it runs."""
    done: bool = False


class Talk:
    """*perform* does what a statement wants, *send* returns when there is room for more."""

    def __init__(
        self, perform: Callable[[Show | Kill], Awaitable[Table]], send: Callable[[bytes], Awaitable[None]]
    ) -> None:
        self._perform = perform
        self._send = send
        self._status = _IDLE
        self._skipping = False
        """An error came: nothing counts until Sync."""
        self._statements: dict[str, Command | None] = {}
        self._portals: dict[str, _Portal] = {}

    async def hear(self, tag: int, body: bytes) -> bool:
        """Answer one message; False for the client's goodbye. Raises ClientViolation for one that no client sends."""
        kind = chr(tag)
        if kind == "X":
            return False
        if kind == "S":
            self._skipping = False
            await self._ready()
        elif kind not in "QFPBDECHdcf":
            raise ClientViolation(f"invalid frontend message type {tag}")
        elif not self._skipping and tag not in _COPY and kind != "H":  # all is sent at once: nothing to flush
            try:
                await self._answer(kind, body)
            except PoolguardError as error:
                self._skipping = kind not in "QF"
                await self._send(messages.error_of(error))
            if kind in "QF":
                await self._ready()
        return True

    async def _ready(self) -> None:
        if self._status == _IDLE:
            self._portals.clear()
        await self._send(messages.READY[self._status])

    async def _answer(self, kind: str, body: bytes) -> None:
        match kind:
            case "Q":
                await self._query(read_query(body))
            case "P":
                await self._parse(*read_parse(body))
            case "B":
                await self._bind(read_bind(body))
            case "D":
                await self._describe(*read_named(body))
            case "E":
                await self._execute(*read_execute(body))
            case "C":
                portal, name = read_named(body)
                (self._portals if portal else self._statements).pop(name, None)
                await self._send(messages.CLOSE_COMPLETE)
            case _:
                raise NotSupported("the console has no functions to call")

    # The simple protocol.

    async def _query(self, sql: str) -> None:
        commands = read(sql)
        if not commands:
            await self._send(messages.EMPTY_QUERY)
        for command in commands:
            columns = _columns(command)
            portal = _Portal(command, (TEXT,) * len(columns))
            if columns:
                await self._run(portal)
                await self._send(row_description(columns, portal.formats))
            await self._fetch(portal, 0)
            await asyncio.sleep(0)  # a text may hold many

    # The extended protocol.

    async def _parse(self, name: str, sql: str) -> None:
        commands = read(sql)
        if len(commands) > 1:
            raise NotUnderstood("cannot insert multiple commands into a prepared statement")
        if name and name in self._statements:
            raise NameTaken(portal=False)
        _check_room(self._statements)
        self._statements[name] = commands[0] if commands else None
        await self._send(messages.PARSE_COMPLETE)

    async def _bind(self, wanted: Bind) -> None:
        if wanted.portal and wanted.portal in self._portals:
            raise NameTaken(portal=True)
        _check_room(self._portals)
        command = self._statement(wanted.statement)
        self._portals[wanted.portal] = _Portal(command, wanted.formats_of(len(_columns(command))))
        await self._send(messages.BIND_COMPLETE)

    async def _describe(self, portal: bool, name: str) -> None:
        command = self._portal(name).command if portal else self._statement(name)
        columns = _columns(command)
        formats = self._portal(name).formats if portal else (TEXT,) * len(columns)
        told = row_description(columns, formats) if columns else messages.NO_DATA
        await self._send(told if portal else messages.NO_PARAMETERS + told)

    async def _execute(self, name: str, most: int) -> None:
        portal = self._portal(name)
        if portal.command is None:
            await self._send(messages.EMPTY_QUERY)
            return
        if portal.rows is None and _columns(portal.command):
            await self._run(portal)
        await self._fetch(portal, most)

    def _statement(self, name: str) -> Command | None:
        if name not in self._statements:
            raise NameUnknown(portal=False)
        return self._statements[name]

    def _portal(self, name: str) -> _Portal:
        if name not in self._portals:
            raise NameUnknown(portal=True)
        return self._portals[name]

    # Both.

    async def _run(self, portal: _Portal) -> None:
        assert isinstance(portal.command, Show | Kill), "nothing else has rows"
        portal.table = await self._perform(portal.command)
        portal.rows = iter(portal.table.rows)

    async def _fetch(self, portal: _Portal, most: int) -> None:
        """Send what is left of *portal*, at most *most* rows of it (0: all), and how it stands then."""
        command = portal.command
        if portal.table is not None and portal.rows is not None:
            if not await self._rows(portal.table.columns, portal.formats, portal.rows, most):
                await self._send(PORTAL_SUSPENDED)
                return
            if portal.table.notice and not portal.done:
                await self._send(messages.notice_response("00000", portal.table.notice, severity="NOTICE"))
            portal.done = True
        elif isinstance(command, Nothing):
            if command.block is not None:
                self._status = _IN_BLOCK if command.block else _IDLE
        elif isinstance(command, Forget):
            if command.name is None:
                self._statements.clear()
            elif command.name not in self._statements:
                raise NameUnknown(portal=False)
            else:
                del self._statements[command.name]
        await self._send(messages.command_complete(_tag(command)))

    async def _rows(self, columns: Sequence[Column], formats: Sequence[int], rows: Iterator[Row], most: int) -> bool:
        """Send them; False if there were *most*, and perhaps more."""
        parts: list[bytes] = []
        number = 0
        turn_at = perf_counter() + SLICE_SECONDS
        for row in rows:
            parts.append(data_row(columns, formats, row))
            number += 1
            if number == most:
                break
            if perf_counter() >= turn_at:
                await self._send(b"".join(parts))
                parts.clear()
                await asyncio.sleep(0)
                turn_at = perf_counter() + SLICE_SECONDS
        await self._send(b"".join(parts))
        return number != most or not most


def _columns(command: Command | None) -> tuple[Column, ...]:
    return columns_of(command) if isinstance(command, Show | Kill) else ()


def _tag(command: Command | None) -> str:
    match command:
        case Nothing() | Forget():
            return command.tag
        case Kill():
            return "KILL"
        case _:
            return "SHOW"


def _check_room(names: dict[str, Command | None] | dict[str, _Portal]) -> None:
    if len(names) >= MOST_NAMES:
        raise TooManyNames(f"more than {MOST_NAMES} at once: DISCARD ALL drops them")
