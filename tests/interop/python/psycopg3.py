"""psycopg 3: connections, its own statement cache, pipeline mode, COPY, and asyncio for the crowd."""

import asyncio
import threading

import psycopg
from psycopg import errors
from report import LARGE, LEAK, LEAKY, MANY, ROWS, TARGET, Admin, main, raises, same

ADMIN = Admin()


def code_of(error: BaseException) -> object:
    return error.sqlstate if isinstance(error, psycopg.Error) else None


def connect(url: str = TARGET, *, autocommit: bool = False) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url, autocommit=autocommit)


def transactions() -> None:
    with connect() as client:
        client.execute("INSERT INTO notes (mark) VALUES ('kept')")
        with client.transaction():
            client.execute("INSERT INTO notes (mark) VALUES ('kept')")
        client.commit()
        client.execute("INSERT INTO notes (mark) VALUES ('undone')")
        client.rollback()
        raises(lambda: client.execute("SELECT 1/0"), "22012", code_of=code_of)
        raises(lambda: client.execute("SELECT 1"), "25P02", code_of=code_of)
        client.rollback()
        with client.transaction():
            try:
                with client.transaction():
                    client.execute("INSERT INTO notes (mark) VALUES ('undone')")
                    client.execute("SELECT 1/0")
            except errors.DivisionByZero:
                client.execute("INSERT INTO notes (mark) VALUES ('kept')")
        client.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        client.read_only = True
        same(client.execute("SHOW transaction_isolation").fetchone(), ("serializable",))
        same(client.execute("SHOW transaction_read_only").fetchone(), ("on",))
    same(ADMIN.marks("kept"), 3)
    same(ADMIN.marks("undone"), 0)


def prepared() -> None:
    with connect(autocommit=True) as one, connect(autocommit=True) as two:
        one.prepare_threshold = two.prepare_threshold = 0
        one.prepared_max = 5
        for _ in range(2):
            for number in range(MANY):
                for client, offset in ((one, 0), (two, 1000)):
                    row = client.execute(f"SELECT %s::int + {number + offset}", (number,)).fetchone()
                    same(row, (2 * number + offset,))


def copy() -> None:
    with connect(autocommit=True) as client:
        with client.cursor().copy("COPY notes (mark, number) FROM STDIN") as into:
            for number in range(ROWS):
                into.write_row(("copied", number))
        with client.cursor().copy("COPY (SELECT number FROM notes WHERE mark = 'copied' ORDER BY 1) TO STDOUT") as out:
            same([int(row[0]) for row in out.rows()], list(range(ROWS)))

        def bad() -> None:
            with client.cursor().copy("COPY notes (mark, number) FROM STDIN") as into:
                into.write(b"bad\t1\nbad\tx\n")

        raises(bad, "22P02", code_of=code_of)
        same(client.execute("SELECT 1").fetchone(), (1,))
    same(ADMIN.marks("bad"), 0)


def cancel() -> None:
    with connect() as client:

        def when_it_sleeps() -> None:
            ADMIN.wait_until_it_sleeps()
            client.cancel_safe(timeout=10)

        thread = threading.Thread(target=when_it_sleeps)
        thread.start()
        raises(lambda: client.execute("SELECT pg_sleep(60)"), "57014", code_of=code_of)
        thread.join()
        client.rollback()
        same(client.execute("SELECT 1").fetchone(), (1,))


def pipeline() -> None:
    with connect(autocommit=True) as client:
        with client.pipeline():
            cursors = [client.execute("SELECT %s::int", (number,)) for number in range(500)]
        same([cursor.fetchone() for cursor in cursors], [(number,) for number in range(500)])

        def broken() -> None:
            with client.pipeline():
                client.execute("INSERT INTO notes (mark) VALUES ('piped')")
                client.execute("SELECT 1/0")
                client.execute("INSERT INTO notes (mark) VALUES ('piped')")

        raises(broken, "22012", code_of=code_of)
        same(ADMIN.marks("piped"), 0)
        with client.pipeline(), client.transaction():
            client.execute("INSERT INTO notes (mark) VALUES ('pipelined')")
        same(ADMIN.marks("pipelined"), 1)
        with client.pipeline() as batch:
            try:
                client.execute("SELECT 1/0")
                batch.sync()
            except errors.DivisionByZero:
                pass
            same(client.execute("SELECT 1").fetchone(), (1,))


def listen() -> None:
    with connect(autocommit=True) as client, connect(autocommit=True) as other:
        client.execute("LISTEN news")
        for number in range(3):
            other.execute("SELECT pg_notify('news', %s)", (str(number),))
        same([told.payload for told in client.notifies(timeout=10, stop_after=3)], ["0", "1", "2"])
        with other.transaction() as undone:
            other.execute("NOTIFY news, 'undone'")
            raise psycopg.Rollback(undone)
        client.execute("NOTIFY news, 'own'")
        same([told.payload for told in client.notifies(timeout=10, stop_after=1)], ["own"])
        client.execute("UNLISTEN *")


def large() -> None:
    with connect(autocommit=True) as client:
        value = bytes(range(256)) * (LARGE // 256)
        same(client.execute("SELECT %s::bytea", (value,), binary=True).fetchone(), (value,))
        text = "ä" * (LARGE // 2)
        same(client.execute("SELECT %s::text", (text,)).fetchone(), (text,))
        rows = client.execute("SELECT n, repeat('x', 100) FROM generate_series(1, %s) n", (ROWS,)).fetchall()
        same(rows, [(number, "x" * 100) for number in range(1, ROWS + 1)])
        with connect() as reader:
            cursor = reader.cursor("by_parts")
            cursor.execute("SELECT generate_series(1, 5000)")
            same(sum(1 for _ in cursor), 5000)


def reconnect() -> None:
    client = connect()
    pid = client.execute("SELECT pg_backend_pid()").fetchone()
    assert pid is not None
    ADMIN.kill(pid[0])
    raises(lambda: client.execute("SELECT 1"), code_of=code_of)
    assert client.broken
    client.close()
    with connect() as again:
        same(again.execute("SELECT 1").fetchone(), (1,))


def crowd() -> None:
    async def one(mark: int) -> None:
        async with await psycopg.AsyncConnection.connect(TARGET) as client:
            for number in range(20):
                cursor = await client.execute("SELECT %s::text, repeat(%s::text, 500)", (f"{mark}/{number}", mark))
                same(await cursor.fetchone(), (f"{mark}/{number}", str(mark) * 500))
                await client.commit()

    async def all_of_them() -> None:
        await asyncio.gather(*(one(mark) for mark in range(12)))

    asyncio.run(all_of_them())


def leaked_then_statement() -> None:
    with connect(LEAKY) as client:
        client.execute(LEAK)
        ADMIN.wait_until_rolled_back()
        raises(lambda: client.execute("INSERT INTO notes (mark) VALUES ('rest')"), "25P03", code_of=code_of)
        raises(lambda: client.execute("INSERT INTO notes (mark) VALUES ('rest')"), "25P02", code_of=code_of)
        client.rollback()
        same(client.execute("SELECT 1").fetchone(), (1,))
    same((ADMIN.marks("leaked"), ADMIN.marks("rest")), (0, 0))


def leaked_then_commit() -> None:
    with connect(LEAKY) as client:
        client.execute(LEAK)
        ADMIN.wait_until_rolled_back()
        raises(client.commit, "25P03", code_of=code_of)
        same(client.execute("SELECT 1").fetchone(), (1,))
    same(ADMIN.marks("leaked"), 0)


def leaked_in_block() -> None:
    """Also in pipeline mode, where nothing is asked before the block ends."""
    with connect(LEAKY, autocommit=True) as client:

        def block() -> None:
            with client.transaction():
                client.execute(LEAK)
                ADMIN.wait_until_rolled_back()
                client.execute("INSERT INTO notes (mark) VALUES ('rest')")
                client.execute("INSERT INTO notes (mark) VALUES ('rest')")

        def piped() -> None:
            with client.transaction():
                client.execute(LEAK)
                ADMIN.wait_until_rolled_back()
                with client.pipeline():
                    client.execute("INSERT INTO notes (mark) VALUES ('rest')")
                    client.execute("INSERT INTO notes (mark) VALUES ('rest')")

        raises(block, "25P03", code_of=code_of)
        raises(piped, "25P03", code_of=code_of)
        client.execute("INSERT INTO notes (mark) VALUES ('after')")
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
