"""libpq by its functions: asynchronous queries, pipeline mode with every kind of end, single-row mode, COPY, cancel."""

import os
import select
import threading
from collections.abc import Callable

from psycopg import OperationalError, pq
from report import LARGE, LEAK, LEAKY, MANY, ROWS, TARGET, Admin, main, same

ADMIN = Admin()
OK = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.SINGLE_TUPLE, pq.ExecStatus.PIPELINE_SYNC)


def connect(url: str = TARGET) -> pq.PGconn:
    """With PQconnectStart and PQconnectPoll."""
    client = pq.PGconn.connect_start(url.encode())
    while (status := client.connect_poll()) != pq.PollingStatus.OK:
        assert status != pq.PollingStatus.FAILED, client.error_message
        reading = [client.socket] if status == pq.PollingStatus.READING else []
        writing = [client.socket] if status == pq.PollingStatus.WRITING else []
        assert any(select.select(reading, writing, [], 10)), "nothing for 10 s"
    client.nonblocking = 1
    return client


def flush(client: pq.PGconn) -> None:
    while client.flush():
        readable, _, _ = select.select([client.socket], [client.socket], [], 10)
        if readable:
            client.consume_input()


def result(client: pq.PGconn) -> pq.PGresult | None:
    """The next result; None at the end of a statement's."""
    flush(client)
    while client.is_busy():
        assert select.select([client.socket], [], [], 30)[0], "nothing for 30 s"
        client.consume_input()
    return client.get_result()


def results(client: pq.PGconn) -> list[pq.PGresult]:
    found = []
    while (one := result(client)) is not None:
        found.append(one)
        if one.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT):
            break
    return found


def query(client: pq.PGconn, statement: str, *parameters: bytes) -> pq.PGresult:
    if parameters:
        client.send_query_params(statement.encode(), list(parameters))
    else:
        client.send_query(statement.encode())
    return results(client)[-1]


def code(of: pq.PGresult) -> str:
    """SQLSTATE, or what came instead of an error."""
    found = of.error_field(pq.DiagnosticField.SQLSTATE)
    return found.decode() if found else pq.ExecStatus(of.status).name


def transactions() -> None:
    client = connect()
    for statement in ("BEGIN", "INSERT INTO notes (mark) VALUES ('kept')", "COMMIT"):
        same(query(client, statement).status, pq.ExecStatus.COMMAND_OK)
    for statement in ("BEGIN", "INSERT INTO notes (mark) VALUES ('undone')", "ROLLBACK"):
        query(client, statement)
    query(client, "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY")
    same(client.transaction_status, pq.TransactionStatus.INTRANS)
    same(query(client, "SHOW transaction_isolation").get_value(0, 0), b"serializable")
    same(code(query(client, "SELECT 1/0")), "22012")
    same(client.transaction_status, pq.TransactionStatus.INERROR)
    same(code(query(client, "SELECT 1")), "25P02")
    same(query(client, "COMMIT").command_status, b"ROLLBACK")
    same(client.transaction_status, pq.TransactionStatus.IDLE)
    client.finish()
    same((ADMIN.marks("kept"), ADMIN.marks("undone")), (1, 0))


def prepared() -> None:
    clients = [connect(), connect()]
    for number in range(MANY):
        for offset, client in enumerate(clients):
            client.send_prepare(f"s{number}".encode(), f"SELECT $1::int + {number + offset}".encode())
            same(results(client)[-1].status, pq.ExecStatus.COMMAND_OK)
    for number in range(MANY):
        for offset, client in enumerate(clients):
            client.send_query_prepared(f"s{number}".encode(), [b"7"])
            same(results(client)[-1].get_value(0, 0), str(7 + number + offset).encode())
            client.send_describe_prepared(f"s{number}".encode())
            same(results(client)[-1].param_type(0), 23)
    same(query(clients[0], "DEALLOCATE s0").command_status, b"DEALLOCATE")
    clients[0].send_query_prepared(b"s0", [b"7"])
    same(code(results(clients[0])[-1]), "26000")
    clients[1].send_prepare(b"s0", b"SELECT 1")
    same(code(results(clients[1])[-1]), "42P05")
    for client in clients:
        client.finish()


def copy() -> None:
    client = connect()
    same(query(client, "COPY notes (mark, number) FROM STDIN").status, pq.ExecStatus.COPY_IN)
    for number in range(ROWS):
        while client.put_copy_data(f"copied\t{number}\n".encode()) == 0:
            flush(client)
    client.put_copy_end()
    same(results(client)[-1].command_tuples, ROWS)
    same(query(client, "COPY notes (mark, number) FROM STDIN").status, pq.ExecStatus.COPY_IN)
    client.put_copy_data(b"bad\t1\n")
    client.put_copy_end(b"thought better of it")
    same(code(results(client)[-1]), "57014")
    query(client, "COPY (SELECT number FROM notes WHERE mark = 'copied' ORDER BY 1) TO STDOUT")
    rows = []
    while True:
        size, data = client.get_copy_data(1)
        if size == -1:
            break
        if size == 0:
            assert select.select([client.socket], [], [], 30)[0], "nothing for 30 s"
            client.consume_input()
            continue
        rows.append(int(bytes(data)))
    same(results(client)[-1].status, pq.ExecStatus.COMMAND_OK)
    same(rows, list(range(ROWS)))
    client.finish()
    same(ADMIN.marks("bad"), 0)


def cancel() -> None:
    client = connect()
    cancels: list[Callable[[], None]] = [client.get_cancel().cancel]
    if pq.version() >= 170000:
        cancels.append(client.cancel_conn().blocking)
    for send in cancels:

        def when_it_sleeps(send: Callable[[], None] = send) -> None:
            Admin().wait_until_it_sleeps()
            send()

        thread = threading.Thread(target=when_it_sleeps)
        thread.start()
        same(code(query(client, "SELECT pg_sleep(60)")), "57014")
        thread.join()
        same(query(client, "SELECT 1").get_value(0, 0), b"1")
    client.finish()


def pipeline() -> None:
    """Errors in the middle: the rest up to Sync is aborted and undone, what comes behind it is not."""
    client = connect()
    client.enter_pipeline_mode()
    insert = b"INSERT INTO notes (mark, number) VALUES ($1, 10 / $2)"
    for _ in range(20):
        for mark, divisor in ((b"piped", b"1"), (b"piped", b"0"), (b"piped", b"1")):
            client.send_query_params(insert, [mark, divisor])
        client.pipeline_sync()
        client.send_query_params(insert, [b"behind", b"1"])
        client.pipeline_sync()
    told = []
    for _ in range(20):
        for part in range(6):
            found = result(client)
            assert found is not None
            told.append(code(found))
            if part not in (3, 5):  # a statement's results end with None, a Sync's don't
                same(result(client), None)
    same(told, ["COMMAND_OK", "22012", "PIPELINE_ABORTED", "PIPELINE_SYNC", "COMMAND_OK", "PIPELINE_SYNC"] * 20)
    client.send_query_params(b"SELECT 1", [])
    client.send_flush_request()
    first = result(client)
    assert first is not None
    same(first.get_value(0, 0), b"1")
    same(result(client), None)
    client.pipeline_sync()
    last = result(client)
    assert last is not None
    same(last.status, pq.ExecStatus.PIPELINE_SYNC)
    client.exit_pipeline_mode()
    same(query(client, "SELECT 2").get_value(0, 0), b"2")
    client.finish()
    same((ADMIN.marks("piped"), ADMIN.marks("behind")), (0, 20))


def listen() -> None:
    client, other = connect(), connect()
    query(client, "LISTEN news")
    for number in range(3):
        query(other, "SELECT pg_notify('news', $1)", str(number).encode())
    told = []
    while len(told) < 3:
        assert select.select([client.socket], [], [], 10)[0], "nothing for 10 s"
        client.consume_input()
        while (one := client.notifies()) is not None:
            told.append(one.extra)
    same(told, [b"0", b"1", b"2"])
    client.finish()
    other.finish()


def large() -> None:
    client = connect()
    value = os.urandom(LARGE // 2).hex().encode()
    same(query(client, "SELECT $1::text", value).get_value(0, 0), value)
    client.send_query_params(b"SELECT n, repeat('x', 100) FROM generate_series(1, $1) n", [str(ROWS).encode()])
    client.set_single_row_mode()
    rows = [found for found in results(client) if found.status == pq.ExecStatus.SINGLE_TUPLE]
    same(len(rows), ROWS)
    client.finish()


def reconnect() -> None:
    client = connect()
    query(client, "BEGIN")
    pid = query(client, "SELECT pg_backend_pid()").get_value(0, 0)
    assert pid is not None
    ADMIN.kill(int(pid))
    try:
        client.send_query(b"SELECT 1")
        flush(client)
        same(code(results(client)[-1]), "57P01")
    except OperationalError:
        pass  # the end of the connection was seen before the statement was sent
    same(client.status, pq.ConnStatus.BAD)
    client.reset_start()
    while (status := client.reset_poll()) != pq.PollingStatus.OK:
        assert status != pq.PollingStatus.FAILED, client.error_message
        reading = [client.socket] if status == pq.PollingStatus.READING else []
        writing = [client.socket] if status == pq.PollingStatus.WRITING else []
        assert any(select.select(reading, writing, [], 10)), "nothing for 10 s"
    same(query(client, "SELECT 1").get_value(0, 0), b"1")
    client.finish()


def leaked_then_statement() -> None:
    client = connect(LEAKY)
    query(client, "BEGIN")
    query(client, LEAK)
    ADMIN.wait_until_rolled_back()
    same(code(query(client, "INSERT INTO notes (mark) VALUES ('rest')")), "25P03")
    same(client.transaction_status, pq.TransactionStatus.INERROR)
    same(code(query(client, "INSERT INTO notes (mark) VALUES ($1)", b"rest")), "25P02")
    same(query(client, "ROLLBACK").command_status, b"ROLLBACK")
    same(client.transaction_status, pq.TransactionStatus.IDLE)
    same(query(client, "SELECT 1").get_value(0, 0), b"1")
    client.finish()
    same((ADMIN.marks("leaked"), ADMIN.marks("rest")), (0, 0))


def leaked_then_commit() -> None:
    """By the simple and by the extended protocol."""
    for send in (pq.PGconn.send_query, lambda client, statement: client.send_query_params(statement, [])):
        client = connect(LEAKY)
        query(client, "BEGIN")
        query(client, LEAK)
        ADMIN.wait_until_rolled_back()
        send(client, b"COMMIT")
        same(code(results(client)[-1]), "25P03")
        same(client.transaction_status, pq.TransactionStatus.IDLE)
        same(query(client, "SELECT 1").get_value(0, 0), b"1")
        client.finish()
    same(ADMIN.marks("leaked"), 0)


def leaked_in_block() -> None:
    """A pipeline that holds the rest of the transaction and its COMMIT."""
    client = connect(LEAKY)
    query(client, "BEGIN")
    query(client, LEAK)
    ADMIN.wait_until_rolled_back()
    client.enter_pipeline_mode()
    for statement in (b"INSERT INTO notes (mark) VALUES ('rest')", b"COMMIT"):
        client.send_query_params(statement, [])
    client.pipeline_sync()
    told = []
    for _ in range(2):
        found = result(client)
        assert found is not None
        told.append(code(found))
        same(result(client), None)
    same(told, ["25P03", "PIPELINE_ABORTED"])
    synced = result(client)
    assert synced is not None
    same(synced.status, pq.ExecStatus.PIPELINE_SYNC)
    client.exit_pipeline_mode()
    same(client.transaction_status, pq.TransactionStatus.INERROR)
    same(query(client, "ROLLBACK").command_status, b"ROLLBACK")
    same(query(client, "INSERT INTO notes (mark) VALUES ('after')").command_status, b"INSERT 0 1")
    client.finish()
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
    leaked_then_statement,
    leaked_then_commit,
    leaked_in_block,
)
