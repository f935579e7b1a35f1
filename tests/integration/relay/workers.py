"""Clients that work without rest, check every row that they are given, and come back when they are killed."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from tests.integration.relay.raw import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    Message,
    Raw,
    bind,
    command_tags,
    copy_data,
    execute,
    parse,
    query,
    rows,
    run,
    sqlstates,
)

FROM_A_KILL: Final = frozenset({"57P01", "57P02", "57P03", "08006", "08001", "57014"})
"""What a client may be told because somebody was killed."""

EXCUSED: Final = FROM_A_KILL | {"25P02", "53300"}


class GoneError(Exception):
    """The connection ended in the middle of something."""


class Worker:
    """One client after another, all of the same mark; every row that one is given must carry it."""

    def __init__(self, port: int, pool: str, number: int, chance: random.Random) -> None:
        self.mark: Final = f"worker {number} of {pool}"
        self.pool: Final = pool
        self.done = 0
        """Conversations that went as they should."""
        self.lost = 0
        """Connections that ended in the middle of something."""
        self.committed: list[int] = []
        """Rows whose COMMIT was acknowledged."""
        self.unknown: list[int] = []
        """Rows whose COMMIT was sent, and not answered."""
        self.raw: Raw | None = None
        self._port = port
        self._number = number
        self._chance = chance
        self._rows = 0
        self._stopping = False

    def kill(self) -> None:
        """End its connection, as a crash of the client would."""
        if self.raw is not None:
            self.raw.reset()

    def stop(self) -> None:
        """Let it finish what it is at."""
        self._stopping = True

    async def live(self) -> None:
        """Work until stop()."""
        while not self._stopping:
            try:
                await self._one_connection()
            except (GoneError, OSError):
                self.lost += 1
            finally:
                if self.raw is not None:
                    await self.raw.end()
                    self.raw = None

    async def _one_connection(self) -> None:
        self.raw = raw = await Raw.dial(self._port)
        greeting = await raw.log_in({"user": "postgres", "database": self.pool, "application_name": self.mark})
        if not greeting or greeting[-1].tag != "Z":
            self._excuse(greeting)
            raise GoneError
        acts: Sequence[Callable[[Raw], Coroutine[Any, Any, None]]] = (
            self._select, self._prepared, self._pipeline, self._transaction, self._rollback, self._copy_out,
            self._copy_in, self._flush, self._pinned, self._canceled,
        )  # fmt: skip
        for _ in range(self._chance.randrange(1, 12)):
            if self._stopping:
                break
            await self._chance.choice(acts)(raw)
            self.done += 1
        raw.send(TERMINATE)

    # What it checks.

    def _excuse(self, received: Sequence[Message]) -> None:
        """Errors must be such as a kill can cause."""
        assert set(sqlstates(received)) <= EXCUSED, (self.mark, received)

    def _check(self, received: Sequence[Message], *, ready: int = 1) -> Sequence[Message]:
        """The rows are its own, the conversation has not ended."""
        for row in rows(received):
            assert row[0] == self.mark, (self.mark, row)
        self._excuse(received)
        if sum(m.tag == "Z" for m in received) < ready:
            raise GoneError
        return received

    async def _ask(self, raw: Raw, *said: bytes, ready: int = 1) -> Sequence[Message]:
        return self._check(await raw.ask(*said, times=ready), ready=ready)

    def _marked(self, count: int) -> str:
        return f"select '{self.mark}', g, repeat('x', g % 500) from generate_series(1, {count}) g"

    def _count(self, received: Sequence[Message], wanted: int) -> None:
        """All rows have come, unless an error says why not."""
        assert sqlstates(received) or len(rows(received)) == wanted, (self.mark, len(rows(received)), wanted)

    # What it does.

    async def _select(self, raw: Raw) -> None:
        count = self._chance.choice((1, 10, 3000))
        self._count(await self._ask(raw, query(self._marked(count))), count)

    async def _prepared(self, raw: Raw) -> None:
        """Named statements, whose names are everybody's and whose texts are its own."""
        names = [f"s{number}" for number in range(4)]
        batch = b"".join(parse(self._marked(number + 1), name) for number, name in enumerate(names))
        await self._ask(raw, batch, SYNC)
        for _ in range(3):
            number = self._chance.randrange(4)
            received = await self._ask(raw, bind(name=names[number]), execute(), SYNC)
            if "26000" not in sqlstates(received):
                self._count(received, number + 1)
        await self._ask(raw, query("deallocate all"))

    async def _pipeline(self, raw: Raw) -> None:
        said = [run(self._marked(1)) + SYNC, query(self._marked(2)), run(self._marked(3)) + run(self._marked(4)) + SYNC]
        self._count(await self._ask(raw, *said, ready=3), 10)

    async def _transaction(self, raw: Raw) -> None:
        self._rows += 1
        row = self._number * 1_000_000 + self._rows
        await self._ask(raw, query("begin"))
        for said in (query(f"insert into done values ({row}, '{self.mark}')"), query(self._marked(5))):
            if sqlstates(await self._ask(raw, said)):
                await self._ask(raw, query("rollback"))
                return
        self.unknown.append(row)
        if command_tags(await self._ask(raw, query("commit"))) == ["COMMIT"]:
            self.committed.append(row)
        self.unknown.remove(row)

    async def _rollback(self, raw: Raw) -> None:
        await self._ask(raw, run("begin") + SYNC)
        await self._ask(raw, run(f"insert into done values (-1, '{self.mark}')") + SYNC)
        await self._ask(raw, run("rollback") + SYNC)

    async def _copy_out(self, raw: Raw) -> None:
        received = await self._ask(raw, query(f"copy ({self._marked(500)}) to stdout"))
        lines = b"".join(m.body for m in received if m.tag == "d").splitlines()
        assert all(line.startswith(self.mark.encode() + b"\t") for line in lines), self.mark
        assert sqlstates(received) or len(lines) == 500

    async def _copy_in(self, raw: Raw) -> None:
        """As psql does, and as those do who don't wait for CopyInResponse; never committed."""
        await self._ask(raw, query("begin"))
        data = copy_data(f"-2\t{self.mark}\n" * 500)
        if self._chance.random() < 0.5:
            await self._ask(raw, query("copy done from stdin"), data, COPY_DONE)
        else:
            raw.send(query("copy done from stdin"))
            if self._check(await raw.until("GZ"), ready=0)[-1:] == []:
                raise GoneError
            await self._ask(raw, data, COPY_DONE, query("select 1 where false"))
        await self._settle(raw)

    async def _settle(self, raw: Raw) -> None:
        """Whatever came before: out of the transaction, with nothing outstanding."""
        end = f"end of {self._chance.random()}"
        raw.send(query(f"rollback; do $$ begin raise notice '{end}'; end $$"))
        received: list[Message] = []
        while not any(m.tag == "N" and m.fields["M"] == end for m in received):
            more = await raw.until()
            received += self._check(more)

    async def _flush(self, raw: Raw) -> None:
        raw.send(run(self._marked(3)) + FLUSH)
        received = await raw.until("CE")
        self._check(received, ready=0)
        if not received or received[-1].tag not in "CE":
            raise GoneError
        await self._ask(raw, SYNC)

    async def _pinned(self, raw: Raw) -> None:
        received = await self._ask(raw, query("set work_mem = '7MB'"))
        if not sqlstates(received):
            received = await self._ask(raw, query(f"select '{self.mark}', current_setting('work_mem')"))
            assert sqlstates(received) or rows(received)[0][1] == "7MB", self.mark

    async def _canceled(self, raw: Raw) -> None:
        raw.send(query(f"select '{self.mark}' from pg_sleep(0.002)"))
        try:
            await raw.cancel()
        except OSError as error:
            raise GoneError from error
        self._check(await raw.until())


async def all_live(workers: Sequence[Worker], meanwhile: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Let *workers* live while *meanwhile* runs, and let them come to an end. Raises what any of them found."""
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.live(), name=worker.mark)
        try:
            await meanwhile()
        finally:
            for worker in workers:
                worker.stop()
