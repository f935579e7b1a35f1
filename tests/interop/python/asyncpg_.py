"""asyncpg: binary results, its own statement cache, a pool that sends RESET ALL, COPY of records."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import asyncpg
from report import LARGE, LEAK, LEAKY, MANY, ROWS, TARGET, Admin, main, same

ADMIN = Admin()


def scenario(coroutine: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """The coroutine function as a plain one."""

    def run() -> None:
        asyncio.run(coroutine())

    run.__name__ = coroutine.__name__
    return run


async def araises(awaitable: Awaitable[object], *codes: str) -> None:
    (outcome,) = await asyncio.gather(awaitable, return_exceptions=True)
    assert isinstance(outcome, Exception), f"no error: {outcome!r}"
    code = getattr(outcome, "sqlstate", None)
    assert not codes or code in codes, f"{code}: {outcome}"


async def off_loop(do: Callable[[], object]) -> None:
    await asyncio.to_thread(do)


@scenario
async def transactions() -> None:
    client = await asyncpg.connect(TARGET)
    async with client.transaction():
        await client.execute("INSERT INTO notes (mark) VALUES ($1)", "kept")
        try:
            async with client.transaction():
                await client.execute("INSERT INTO notes (mark) VALUES ('undone')")
                await client.execute("SELECT 1/0")
        except asyncpg.DivisionByZeroError:
            await client.execute("INSERT INTO notes (mark) VALUES ('kept')")
    undone = client.transaction()
    await undone.start()
    await client.execute("INSERT INTO notes (mark) VALUES ('undone')")
    await araises(client.fetch("SELECT 1/0"), "22012")
    await araises(client.fetch("SELECT 1"), "25P02")
    await undone.rollback()
    async with client.transaction(isolation="serializable", readonly=True, deferrable=True):
        same(await client.fetchval("SHOW transaction_isolation"), "serializable")
        same(await client.fetchval("SHOW transaction_read_only"), "on")
    await client.close()
    same((ADMIN.marks("kept"), ADMIN.marks("undone")), (2, 0))


@scenario
async def prepared() -> None:
    clients = [await asyncpg.connect(TARGET, statement_cache_size=size) for size in (5, 100)]
    for _ in range(2):
        for number in range(MANY):
            for offset, client in enumerate(clients):
                same(await client.fetchval(f"SELECT $1::int + {number + offset}", number), 2 * number + offset)
    kept = [await clients[0].prepare(f"SELECT $1::text || '{number}'") for number in range(MANY)]
    for number, statement in enumerate(kept):
        same(await statement.fetchval("x"), f"x{number}")
    await clients[0].execute("CREATE TABLE changing (a int)")
    await clients[0].execute("INSERT INTO changing VALUES (1)")
    for client in clients:
        same(await client.fetch("SELECT * FROM changing"), [(1,)])
    await clients[0].execute("ALTER TABLE changing ADD b int")
    for client in clients:
        same(await client.fetch("SELECT * FROM changing"), [(1, None)])
        await client.close()


@scenario
async def copy() -> None:
    client = await asyncpg.connect(TARGET)
    await client.copy_records_to_table(
        "notes", records=[("copied", number) for number in range(ROWS)], columns=["mark", "number"]
    )
    out = io.BytesIO()
    await client.copy_from_query("SELECT number FROM notes WHERE mark = $1 ORDER BY 1", "copied", output=out)
    same([int(line) for line in out.getvalue().split()], list(range(ROWS)))
    bad = io.BytesIO(b"bad\t1\nbad\tx\n")
    await araises(client.copy_to_table("notes", source=bad, columns=["mark", "number"]), "22P02")
    same(await client.fetchval("SELECT 1"), 1)
    await client.close()
    same(ADMIN.marks("bad"), 0)


@scenario
async def cancel() -> None:
    """By a timeout, and by a cancelled task: both send a CancelRequest."""
    client = await asyncpg.connect(TARGET)
    try:
        await client.execute("SELECT pg_sleep(60)", timeout=0.1)
    except TimeoutError:
        pass
    else:
        raise AssertionError("no timeout")
    same(await client.fetchval("SELECT 1"), 1)
    await off_loop(ADMIN.nothing_sleeps)
    sleeping = asyncio.create_task(client.fetch("SELECT pg_sleep(60)"))
    await off_loop(ADMIN.wait_until_it_sleeps)
    sleeping.cancel()
    await asyncio.wait([sleeping])
    assert sleeping.cancelled()
    same(await client.fetchval("SELECT 2"), 2)
    await off_loop(ADMIN.nothing_sleeps)
    await client.close()


@scenario
async def pipeline() -> None:
    """Its executemany: many Bind and Execute before one Sync, in one implicit transaction."""
    client = await asyncpg.connect(TARGET)
    insert = "INSERT INTO notes (mark, number) VALUES ('piped', 10 / $1)"
    await araises(client.executemany(insert, [(1,)] * 500 + [(0,)] + [(1,)] * 500), "22012")
    same(ADMIN.marks("piped"), 0)
    await client.executemany(insert, [(1,)] * 1000)
    same(ADMIN.marks("piped"), 1000)
    rows = await client.fetchmany("SELECT $1::int + 1", [(number,) for number in range(200)])
    same([row[0] for row in rows], list(range(1, 201)))
    await client.close()


@scenario
async def listen() -> None:
    client, other = await asyncpg.connect(TARGET), await asyncpg.connect(TARGET)
    told: asyncio.Queue[str] = asyncio.Queue()
    await client.add_listener("news", lambda _connection, _pid, _channel, payload: told.put_nowait(payload))
    for number in range(3):
        await other.execute("SELECT pg_notify('news', $1)", str(number))
    same([await asyncio.wait_for(told.get(), 10) for _ in range(3)], ["0", "1", "2"])
    async with client.transaction():
        await client.execute("SELECT pg_notify('news', 'own')")
    same(await asyncio.wait_for(told.get(), 10), "own")
    await client.reset()
    await client.close()
    await other.close()


@scenario
async def large() -> None:
    client = await asyncpg.connect(TARGET)
    value = bytes(range(256)) * (LARGE // 256)
    same(await client.fetchval("SELECT $1::bytea", value), value)
    rows = await client.fetch("SELECT n, repeat('x', 100) FROM generate_series(1, $1::int) n", ROWS)
    same([tuple(row) for row in rows], [(number, "x" * 100) for number in range(1, ROWS + 1)])
    async with client.transaction():
        parts = [row[0] async for row in client.cursor("SELECT generate_series(1, 5000)", prefetch=100)]
    same(len(parts), 5000)
    await client.close()


@scenario
async def reconnect() -> None:
    """A connection, then a pool that finds its connections dead."""
    client = await asyncpg.connect(TARGET)
    transaction = client.transaction()
    await transaction.start()
    pid = await client.fetchval("SELECT pg_backend_pid()")
    await off_loop(lambda: ADMIN.kill(pid))
    await araises(client.fetchval("SELECT 1"))
    assert client.is_closed()
    async with asyncpg.create_pool(TARGET, min_size=1, max_size=1) as pool:

        async def doomed() -> None:
            async with pool.acquire() as lent, lent.transaction():
                pid = await lent.fetchval("SELECT pg_backend_pid()")
                await off_loop(lambda: ADMIN.kill(pid))
                await lent.fetchval("SELECT 1")

        await araises(doomed())
        same(await pool.fetchval("SELECT 1"), 1)


@scenario
async def crowd() -> None:
    async with asyncpg.create_pool(TARGET, min_size=0, max_size=12) as pool:

        async def one(mark: int) -> None:
            for number in range(20):
                async with pool.acquire() as client, client.transaction():
                    row = await client.fetchrow("SELECT $1::text, repeat($2::text, 500)", f"{mark}/{number}", str(mark))
                    same(tuple(row), (f"{mark}/{number}", str(mark) * 500))

        await asyncio.gather(*(one(mark) for mark in range(24)))


@scenario
async def leaked_then_statement() -> None:
    client = await asyncpg.connect(LEAKY)
    transaction = client.transaction()
    await transaction.start()
    await client.execute(LEAK)
    await off_loop(ADMIN.wait_until_rolled_back)
    await araises(client.execute("INSERT INTO notes (mark) VALUES ($1)", "rest"), "25P03")
    await araises(client.execute("INSERT INTO notes (mark) VALUES ($1)", "rest"), "25P02")
    await transaction.rollback()
    same(await client.fetchval("SELECT 1"), 1)
    await client.close()
    same((ADMIN.marks("leaked"), ADMIN.marks("rest")), (0, 0))


@scenario
async def leaked_then_commit() -> None:
    client = await asyncpg.connect(LEAKY)
    transaction = client.transaction()
    await transaction.start()
    await client.execute(LEAK)
    await off_loop(ADMIN.wait_until_rolled_back)
    await araises(transaction.commit(), "25P03")
    assert not client.is_in_transaction()
    same(await client.fetchval("SELECT 1"), 1)
    await client.close()
    same(ADMIN.marks("leaked"), 0)


@scenario
async def leaked_in_block() -> None:
    async with asyncpg.create_pool(LEAKY, min_size=1, max_size=1) as pool:

        async def block() -> None:
            async with pool.acquire() as client, client.transaction():
                await client.execute(LEAK)
                await off_loop(ADMIN.wait_until_rolled_back)
                await client.executemany("INSERT INTO notes (mark) VALUES ($1)", [("rest",)] * 10)

        await araises(block(), "25P03")
        await pool.execute("INSERT INTO notes (mark) VALUES ('after')")
    same((ADMIN.marks("leaked"), ADMIN.marks("rest"), ADMIN.marks("after")), (0, 0, 1))


main(
    transactions,
    prepared,
    copy,
    cancel,
    pipeline,
    listen,
    large,
    reconnect,
    crowd,
    leaked_then_statement,
    leaked_then_commit,
    leaked_in_block,
)
