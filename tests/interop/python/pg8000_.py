"""pg8000: a driver in pure Python with its own protocol code; every statement is prepared, used and closed."""

import io
import select
import socket

import pg8000.dbapi
import pg8000.native
from report import LARGE, LEAK, LEAKY, MANY, ROWS, TARGET, Admin, main, parts, raises, same

ADMIN = Admin()


def code_of(error):
    return error.args[0].get("C") if error.args and isinstance(error.args[0], dict) else None


def connect(url=TARGET):
    host, port, user, database = parts(url)
    return pg8000.dbapi.connect(user=user, host=host, port=port, database=database)


def native(url=TARGET):
    host, port, user, database = parts(url)
    return pg8000.native.Connection(user, host=host, port=port, database=database)


def execute(client, statement, parameters=()):
    cursor = client.cursor()
    cursor.execute(statement, parameters)
    return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


def transactions():
    client = connect()
    execute(client, "INSERT INTO notes (mark) VALUES (%s)", ("kept",))
    client.commit()
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
    client.close()
    own = native()
    own.run("START TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY")
    same(own.run("SHOW transaction_isolation"), [["serializable"]])
    own.run("COMMIT")
    own.close()
    same((ADMIN.marks("kept"), ADMIN.marks("undone")), (2, 0))


def prepared():
    one, two = native(), native()
    kept = [(client, client.prepare(f"SELECT cast(:v as int) + {n}"), n) for n in range(MANY) for client in (one, two)]
    for _ in range(2):
        for _client, statement, number in kept:
            same(statement.run(v=number), [[2 * number]])
    for client, statement, _ in kept:
        statement.close()
        same(client.run("SELECT 1"), [[1]])
    one.close()
    two.close()


def copy():
    client = native()
    client.run(
        "COPY notes (mark, number) FROM STDIN", stream=io.StringIO("".join(f"copied\t{n}\n" for n in range(ROWS)))
    )
    out = io.StringIO()
    client.run("COPY (SELECT number FROM notes WHERE mark = 'copied' ORDER BY 1) TO STDOUT", stream=out)
    same([int(line) for line in out.getvalue().split()], list(range(ROWS)))
    bad = io.StringIO("bad\t1\nbad\tx\n")
    raises(lambda: client.run("COPY notes (mark, number) FROM STDIN", stream=bad), "22P02", code_of=code_of)
    same(client.run("SELECT 1"), [[1]])
    client.close()
    same(ADMIN.marks("bad"), 0)


def cancel():
    """It has no cancel, so: a client that goes in the middle of a statement, whose statement must end."""
    client = native()
    raw = client._usock
    client._usock.settimeout(0.1)
    raises(lambda: client.run("SELECT pg_sleep(3)"), code_of=code_of)
    raw.shutdown(socket.SHUT_RDWR)
    raw.close()
    ADMIN.nothing_sleeps()
    again = native()
    same(again.run("SELECT 1"), [[1]])
    again.close()


def listen():
    client, other = native(), native()
    client.run("LISTEN news")
    for number in range(3):
        other.run("SELECT pg_notify('news', :p)", p=str(number))
    other.close()
    while len(client.notifications) < 3:
        assert select.select([client._usock], [], [], 10)[0], f"nothing more in 10 s: {client.notifications}"
        client.run("SELECT 1")
    same([payload for _pid, _channel, payload in client.notifications], ["0", "1", "2"])
    client.close()


def large():
    client = native()
    value = bytes(range(256)) * (LARGE // 256)
    same(client.run("SELECT cast(:v as bytea)", v=value), [[value]])
    rows = client.run("SELECT n, repeat('x', 100) FROM generate_series(1, cast(:n as int)) n", n=ROWS)
    same(rows, [[number, "x" * 100] for number in range(1, ROWS + 1)])
    client.close()


def reconnect():
    client = connect()
    [(pid,)] = execute(client, "SELECT pg_backend_pid()")
    ADMIN.kill(pid)
    raises(lambda: execute(client, "SELECT 1"), code_of=code_of)
    again = connect()
    same(execute(again, "SELECT 1"), [(1,)])
    again.close()


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
    same(execute(client, "SELECT 1"), [(1,)])
    client.close()
    same(ADMIN.marks("leaked"), 0)


def leaked_in_block():
    """DB-API: many parameters in one executemany."""
    client = connect(LEAKY)

    def block():
        cursor = client.cursor()
        cursor.execute(LEAK)
        ADMIN.wait_until_rolled_back()
        cursor.executemany("INSERT INTO notes (mark) VALUES (%s)", [("rest",)] * 10)
        client.commit()

    raises(block, "25P03", code_of=code_of)
    client.rollback()
    execute(client, "INSERT INTO notes (mark) VALUES ('after')")
    client.commit()
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
    leaked_then_statement,
    leaked_then_commit,
    leaked_in_block,
)
