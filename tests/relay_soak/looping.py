"""Clients of asyncpg: extended protocol, prepared statements by default, on one event loop."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

import asyncpg

from tests.relay_soak.marks import Mark

CANCEL_SECONDS: Final = 0.005


class LoopingClient:
    """One client after another, all of the same mark."""

    def __init__(self, mark: Mark, port: int, pool: str) -> None:
        self._mark = mark
        self._port = port
        self._pool = pool
        self._acts: Sequence[Callable[[Any], Coroutine[Any, Any, None]]] = (
            self._select, self._parameters, self._transaction, self._rollback, self._cursor, self._copy, self._cancel,
        )  # fmt: skip

    async def live(self) -> None:
        """Work until the end."""
        while not self._mark.is_over():
            connection = None
            act = "connect"
            try:
                connection = await asyncpg.connect(
                    host="127.0.0.1", port=self._port, user="postgres", database=self._pool, timeout=30,
                    server_settings={"application_name": self._mark.text},
                )  # fmt: skip
                for _ in range(self._mark.chance.randrange(1, 40)):
                    chosen = self._mark.chance.choice(self._acts)
                    act = chosen.__name__
                    await chosen(connection)
                    self._mark.told.done[act] += 1
                    if self._mark.is_over():
                        break
                if self._mark.chance.random() < 0.2:
                    connection.terminate()
                    self._mark.told.kills += 1
            except Exception as error:  # noqa: BLE001 - judged by failed()
                self._mark.failed(act, error, _sqlstate(error))
                if act == "connect":
                    await asyncio.sleep(0.02)
            finally:
                if connection is not None:
                    with suppress(Exception):
                        await connection.close(timeout=5)

    def _marked(self, count: int) -> str:
        return f"select '{self._mark.text}', g, repeat('x', g) from generate_series(1, {count}) g"

    async def _select(self, connection: Any) -> None:
        count = self._mark.chance.choice((1, 1, 10, 200))
        self._mark.selected(await connection.fetch(self._marked(count)), count)

    async def _parameters(self, connection: Any) -> None:
        number = self._mark.chance.randrange(1000)
        row = await connection.fetchrow(f"select '{self._mark.text}', $1::int + 1", number)
        self._mark.selected([row], 1)
        self._mark.expect("a sum", row[1], number + 1)

    async def _transaction(self, connection: Any) -> None:
        row = self._mark.new_row()
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(f"insert into done values ($1, '{self._mark.text}')", row)
        self._mark.selected(await connection.fetch(self._marked(3)), 3)
        self._mark.told.unknown.append(row)
        await transaction.commit()
        self._mark.told.committed.append(row)
        self._mark.told.unknown.remove(row)

    async def _rollback(self, connection: Any) -> None:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(f"insert into done values (-1, '{self._mark.text}')")
        with suppress(asyncpg.DivisionByZeroError):
            await connection.fetch("select 1/0")
        await transaction.rollback()

    async def _cursor(self, connection: Any) -> None:
        async with connection.transaction():
            rows = [row async for row in connection.cursor(self._marked(60), prefetch=7)]
        self._mark.selected(rows, 60)

    async def _copy(self, connection: Any) -> None:
        lines = bytearray()

        async def take(data: bytes) -> None:
            lines.extend(data)

        await connection.copy_from_query(self._marked(300), output=take)
        self._mark.selected(
            [line.split(b"\t")[:1] and [line.split(b"\t")[0].decode()] for line in lines.splitlines()], 300
        )

    async def _cancel(self, connection: Any) -> None:
        with suppress(TimeoutError):
            rows = await connection.fetch(f"select '{self._mark.text}' from pg_sleep(0.01)", timeout=CANCEL_SECONDS)
            self._mark.selected(rows, 1)


def _sqlstate(error: BaseException) -> str | None:
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate) if error.sqlstate else None
    if isinstance(error, (asyncpg.InterfaceError, OSError, TimeoutError, asyncpg.InternalClientError)):
        return None
    if isinstance(error, AttributeError) and "NoneType" in str(error):
        return None  # what asyncpg says of a COPY on a connection that has ended
    return f"no error of asyncpg: {type(error).__name__}"
