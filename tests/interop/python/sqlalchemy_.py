"""SQLAlchemy with psycopg: its pool (pre-ping, reset on return), its ORM session, server-side cursors, two-phase commit."""

import threading

import sqlalchemy as sa
from report import LARGE, LEAK, LEAKY, MANY, ROWS, TARGET, Admin, main, raises, same
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

ADMIN = Admin()


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id = mapped_column(sa.BigInteger, primary_key=True)
    mark = mapped_column(sa.Text)
    number = mapped_column(sa.Integer)


def code_of(error):
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def engine(url=TARGET, **options):
    return sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), **options)


def transactions():
    made = engine()
    with made.begin() as client:
        client.execute(sa.insert(Note), [{"mark": "kept", "number": number} for number in range(5)])
    with Session(made) as session:
        session.add(Note(mark="kept"))
        session.flush()
        with session.begin_nested() as nested:
            session.add(Note(mark="undone"))
            session.flush()
            nested.rollback()
        session.commit()
        session.add(Note(mark="undone"))
        session.flush()
        raises(lambda: session.execute(sa.text("SELECT 1/0")), "22012", code_of=code_of)
        raises(lambda: session.execute(sa.text("SELECT 1")), "25P02", code_of=code_of)
        session.rollback()
        same(session.scalar(sa.select(sa.func.count()).where(Note.mark == "kept")), 6)
    with made.connect().execution_options(isolation_level="SERIALIZABLE", postgresql_readonly=True) as client:
        same(client.scalar(sa.text("SHOW transaction_isolation")), "serializable")
        same(client.scalar(sa.text("SHOW transaction_read_only")), "on")
    with made.connect().execution_options(isolation_level="AUTOCOMMIT") as client:
        client.execute(sa.insert(Note), {"mark": "kept"})
    made.dispose()
    same((ADMIN.marks("kept"), ADMIN.marks("undone")), (7, 0))


def prepared():
    made = engine(connect_args={"prepare_threshold": 0})
    with made.connect() as one, made.connect() as two:
        for _ in range(2):
            for number in range(MANY):
                for client in (one, two):
                    statement = sa.text(f"SELECT CAST(:v AS int) + {number}")
                    same(client.scalar(statement, {"v": number}), 2 * number)
                    client.commit()
    made.dispose()


def cancel():
    made = engine()
    with made.connect() as client:

        def when_it_sleeps():
            Admin().wait_until_it_sleeps()
            client.connection.driver_connection.cancel_safe()

        thread = threading.Thread(target=when_it_sleeps)
        thread.start()
        raises(lambda: client.execute(sa.text("SELECT pg_sleep(60)")), "57014", code_of=code_of)
        thread.join()
        client.rollback()
        same(client.scalar(sa.text("SELECT 1")), 1)
    made.dispose()


def large():
    made = engine()
    with made.connect() as client:
        value = bytes(range(256)) * (LARGE // 256)
        same(client.scalar(sa.select(sa.cast(value, sa.LargeBinary))), value)
        rows = client.execution_options(stream_results=True, max_row_buffer=1000).execute(
            sa.text("SELECT n, repeat('x', 100) FROM generate_series(1, :n) n"), {"n": ROWS}
        )
        same(sum(len(row[1]) for row in rows), 100 * ROWS)
    made.dispose()


def reconnect():
    """A dead connection is noticed and the pool starts afresh; with pre-ping nobody is told."""
    made = engine(pool_size=1, max_overflow=0)
    with made.connect() as client:
        ADMIN.kill(client.scalar(sa.text("SELECT pg_backend_pid()")))
        raises(lambda: client.execute(sa.text("SELECT 1")), code_of=code_of)
        assert client.invalidated
        client.rollback()
        same(client.scalar(sa.text("SELECT 1")), 1)
    made.dispose()
    made = engine(pool_size=1, max_overflow=0, pool_pre_ping=True)
    with made.connect() as client:
        pid = client.scalar(sa.text("SELECT pg_backend_pid()"))
    ADMIN.kill(pid)
    with made.connect() as client:
        same(client.scalar(sa.text("SELECT 1")), 1)
    made.dispose()


def crowd():
    made = engine(pool_size=12)
    failures = []

    def one(mark):
        try:
            for number in range(20):
                with made.begin() as client:
                    row = client.execute(
                        sa.text("SELECT CAST(:m AS text), repeat(:c, 500)"), {"m": f"{mark}/{number}", "c": str(mark)}
                    ).one()
                    same(tuple(row), (f"{mark}/{number}", str(mark) * 500))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(mark,)) for mark in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.dispose()
    same(failures, [])


def leaked_then_statement():
    made = engine(LEAKY)
    with made.connect() as client:
        client.execute(sa.text(LEAK))
        ADMIN.wait_until_rolled_back()
        raises(lambda: client.execute(sa.insert(Note), {"mark": "rest"}), "25P03", code_of=code_of)
        raises(lambda: client.execute(sa.insert(Note), {"mark": "rest"}), "25P02", code_of=code_of)
        client.rollback()
        same(client.scalar(sa.text("SELECT 1")), 1)
    made.dispose()
    same((ADMIN.marks("leaked"), ADMIN.marks("rest")), (0, 0))


def leaked_then_commit():
    made = engine(LEAKY)
    with made.connect() as client:
        client.execute(sa.text(LEAK))
        ADMIN.wait_until_rolled_back()
        raises(client.commit, "25P03", code_of=code_of)
        assert not client.invalidated
        client.rollback()
        same(client.scalar(sa.text("SELECT 1")), 1)
    made.dispose()
    same(ADMIN.marks("leaked"), 0)


def leaked_in_block():
    """The ORM: what was added before the leak, and what is flushed after it."""
    made = engine(LEAKY, pool_size=1, max_overflow=0)

    def block():
        with Session(made) as session, session.begin():
            session.execute(sa.text(LEAK))
            session.add(Note(mark="rest"))
            ADMIN.wait_until_rolled_back()

    raises(block, "25P03", code_of=code_of)
    with Session(made) as session, session.begin():
        session.add(Note(mark="after"))
    made.dispose()
    same((ADMIN.marks("leaked"), ADMIN.marks("rest"), ADMIN.marks("after")), (0, 0, 1))


main(
    transactions,
    prepared,
    cancel,
    large,
    reconnect,
    crowd,
    leaked_then_statement,
    leaked_then_commit,
    leaked_in_block,
)
