"""psycopg2: libpq's simple protocol, server-side cursors, COPY by files, asynchronous connections for the crowd."""

import io
import select
import threading

import psycopg2
import psycopg2.extensions
from report import LARGE, LEAK, LEAKY, MANY, ROWS, TARGET, Admin, main, raises, same

ADMIN = Admin()


def code_of(error):
    return getattr(error, "pgcode", None)


def connect(url=TARGET, *, autocommit=False):
    client = psycopg2.connect(url)
    client.autocommit = autocommit
    return client


def execute(client, statement, parameters=None):
    with client.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def transactions():
    client = connect()
    with client:
        execute(client, "INSERT INTO notes (mark) VALUES ('kept')")
    execute(client, "INSERT INTO notes (mark) VALUES ('undone')")
    client.rollback()
    raises(lambda: execute(client, "SELECT 1/0"), "22012", code_of=code_of)
    raises(lambda: execute(client, "SELECT 1"), "25P02", code_of=code_of)
    client.rollback()
    execute(client, "SAVEPOINT here")
    raises(lambda: execute(client, "SELECT 1/0"), "22012", code_of=code_of)
    execute(client, "ROLLBACK TO SAVEPOINT here")
    execute(client, "INSERT INTO notes (mark) VALUES ('kept')")
    client.commit()
    client.set_session(isolation_level="SERIALIZABLE", readonly=True)
    same(execute(client, "SHOW transaction_isolation"), [("serializable",)])
    same(execute(client, "SHOW transaction_read_only"), [("on",)])
    client.close()
    same((ADMIN.marks("kept"), ADMIN.marks("undone")), (2, 0))


def prepared():
    """PREPARE in SQL is all that it has; and named cursors."""
    one, two = connect(autocommit=True), connect(autocommit=True)
    for number in range(MANY):
        for client in (one, two):
            execute(client, f"PREPARE s{number} (int) AS SELECT $1 + {number}")
    for number in range(MANY):
        for client in (one, two):
            same(execute(client, f"EXECUTE s{number} (%s)", (number,)), [(2 * number,)])
    one.close()
    execute(two, "DEALLOCATE ALL")
    raises(lambda: execute(two, "EXECUTE s0 (1)"), "26000", code_of=code_of)
    two.close()
    reader = connect()
    with reader.cursor("by_parts") as cursor:
        cursor.execute("SELECT generate_series(1, 5000)")
        same(sum(1 for _ in cursor), 5000)
    reader.commit()
    held = reader.cursor("held", withhold=True)
    held.execute("SELECT generate_series(1, 5000)")
    reader.commit()
    same(sum(1 for _ in held), 5000)
    held.close()
    reader.close()


def copy():
    client = connect(autocommit=True)
    with client.cursor() as cursor:
        cursor.copy_expert(
            "COPY notes (mark, number) FROM STDIN", io.StringIO("".join(f"copied\t{n}\n" for n in range(ROWS)))
        )
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT number FROM notes WHERE mark = 'copied' ORDER BY 1) TO STDOUT", out)
        same([int(line) for line in out.getvalue().split()], list(range(ROWS)))
        bad = io.StringIO("bad\t1\nbad\tx\n")
        raises(lambda: cursor.copy_expert("COPY notes (mark, number) FROM STDIN", bad), "22P02", code_of=code_of)
        same(execute(client, "SELECT 1"), [(1,)])
    client.close()
    same(ADMIN.marks("bad"), 0)


def cancel():
    client = connect()

    def when_it_sleeps():
        Admin().wait_until_it_sleeps()
        client.cancel()

    thread = threading.Thread(target=when_it_sleeps)
    thread.start()
    raises(lambda: execute(client, "SELECT pg_sleep(60)"), "57014", code_of=code_of)
    thread.join()
    client.rollback()
    same(execute(client, "SELECT 1"), [(1,)])
    client.close()


def listen():
    client, other = connect(autocommit=True), connect(autocommit=True)
    execute(client, "LISTEN news")
    for number in range(3):
        execute(other, "SELECT pg_notify('news', %s)", (str(number),))
    execute(client, "NOTIFY news, 'own'")
    while len(client.notifies) < 4:
        assert select.select([client], [], [], 10)[0], f"nothing more in 10 s: {client.notifies}"
        client.poll()
    same(sorted(told.payload for told in client.notifies), ["0", "1", "2", "own"])
    same([told.payload for told in client.notifies if told.payload != "own"], ["0", "1", "2"])
    client.close()
    other.close()


def large():
    client = connect(autocommit=True)
    value = bytes(range(256)) * (LARGE // 256)
    [[got]] = execute(client, "SELECT %s::bytea", (psycopg2.Binary(value),))
    same(bytes(got), value)
    rows = execute(client, "SELECT n, repeat('x', 100) FROM generate_series(1, %s) n", (ROWS,))
    same(rows, [(number, "x" * 100) for number in range(1, ROWS + 1)])
    client.close()


def reconnect():
    client = connect()
    [[pid]] = execute(client, "SELECT pg_backend_pid()")
    ADMIN.kill(pid)
    raises(lambda: execute(client, "SELECT 1"), code_of=code_of)
    assert client.closed
    again = connect()
    same(execute(again, "SELECT 1"), [(1,)])
    again.close()


def crowd():
    failures = []

    def one(mark):
        try:
            client = connect()
            for number in range(20):
                rows = execute(client, "SELECT %s, repeat(%s, 500)", (f"{mark}/{number}", str(mark)))
                same(rows, [(f"{mark}/{number}", str(mark) * 500)])
                client.commit()
            client.close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(mark,)) for mark in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(failures, [])


def leaked_then_statement():
    client = connect(LEAKY)
    execute(client, LEAK)
    ADMIN.wait_until_rolled_back()
    raises(lambda: execute(client, "INSERT INTO notes (mark) VALUES ('rest')"), "25P03", code_of=code_of)
    raises(lambda: execute(client, "INSERT INTO notes (mark) VALUES ('rest')"), "25P02", code_of=code_of)
    client.rollback()
    same(execute(client, "SELECT 1"), [(1,)])
    client.close()
    same((ADMIN.marks("leaked"), ADMIN.marks("rest")), (0, 0))


def leaked_then_commit():
    client = connect(LEAKY)
    execute(client, LEAK)
    ADMIN.wait_until_rolled_back()
    raises(client.commit, "25P03", code_of=code_of)
    same(client.get_transaction_status(), psycopg2.extensions.TRANSACTION_STATUS_IDLE)
    client.rollback()
    same(execute(client, "SELECT 1"), [(1,)])
    client.close()
    same(ADMIN.marks("leaked"), 0)


def leaked_in_block():
    client = connect(LEAKY)

    def block():
        with client:
            execute(client, LEAK)
            ADMIN.wait_until_rolled_back()
            execute(client, "INSERT INTO notes (mark) VALUES ('rest')")

    raises(block, "25P03", code_of=code_of)
    with client:
        execute(client, "INSERT INTO notes (mark) VALUES ('after')")
    client.close()
    same((ADMIN.marks("leaked"), ADMIN.marks("rest"), ADMIN.marks("after")), (0, 0, 1))


main(
    transactions,
    prepared,
    copy,
    cancel,
    listen,
    large,
    reconnect,
    crowd,
    leaked_then_statement,
    leaked_then_commit,
    leaked_in_block,
)
