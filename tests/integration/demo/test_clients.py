"""The demo's applications, on a PostgreSQL without poolguard before it: here nobody ends a forgotten transaction."""

from collections.abc import Iterator

import psycopg
import pytest

from poolguard.demo.clients import Leak, Refusal, all_servers_of, connect, wait_for_a_server
from poolguard.demo.postgres import EmbeddedPostgres
from poolguard.demo.scene import DATABASE, ORDERS
from poolguard.demo.show import prepare

pytestmark = pytest.mark.pg


@pytest.fixture(scope="module")
def shop() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres() as postgres:
        prepare(postgres)
        yield postgres


@pytest.fixture
def leak(shop: EmbeddedPostgres) -> Iterator[Leak]:
    leak = Leak(shop.port, pool=DATABASE, application_name="checkout-service", order=1)
    leak.begin()
    yield leak
    leak.connection.close()


def state_of(shop: EmbeddedPostgres, backend_pid: int) -> tuple[object, ...] | None:
    with shop.connect() as connection:
        return connection.execute(
            "SELECT application_name, state FROM pg_stat_activity WHERE pid = %s", [backend_pid]
        ).fetchone()


def test_there_is_an_order_for_every_leak(shop: EmbeddedPostgres) -> None:
    with shop.connect(DATABASE) as connection:
        rows = connection.execute("SELECT id, state FROM orders ORDER BY id").fetchall()
    assert rows == [(number, "new") for number in range(1, ORDERS + 1)]


def test_a_leak_stands_idle_in_transaction_under_its_applications_name(shop: EmbeddedPostgres, leak: Leak) -> None:
    assert state_of(shop, leak.backend_pid) == ("checkout-service", "idle in transaction")


def test_while_nobody_ended_it_a_leak_sees_no_error_and_can_roll_back(leak: Leak) -> None:
    assert leak.next_statement() is None
    assert leak.lives_on()


def test_a_leak_that_lost_its_connection_does_not_live_on(shop: EmbeddedPostgres, leak: Leak) -> None:
    with shop.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [leak.backend_pid])
    error = leak.next_statement()
    assert error is not None
    assert error.sqlstate == "57P01"
    assert not leak.lives_on()


def test_a_commit_that_fails_is_told(shop: EmbeddedPostgres, leak: Leak) -> None:
    with shop.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [leak.backend_pid])
    assert leak.commit() is not None


def test_who_gets_a_server_is_told_which(shop: EmbeddedPostgres) -> None:
    with connect(shop.port, pool=DATABASE, application_name="storefront") as connection:
        wait = wait_for_a_server(connection)
        assert wait.refusal is None
        assert wait.backend_pid == connection.info.backend_pid
        assert wait.seconds > 0


def test_who_gets_none_is_told_why(shop: EmbeddedPostgres) -> None:
    with connect(shop.port, pool=DATABASE, application_name="storefront") as connection:
        connection.execute("SET statement_timeout = 1")
        with shop.connect(DATABASE) as locker, locker.transaction():
            locker.execute("LOCK TABLE pg_catalog.pg_database IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(psycopg.errors.QueryCanceled) as caught:
                connection.execute("SELECT count(*) FROM pg_database")
        refusal = Refusal.of(caught.value)
        assert refusal.sqlstate == "57014"
        assert refusal.message == "canceling statement due to statement timeout"
        assert wait_for_a_server(connection).refusal == Refusal(
            sqlstate="25P02",
            message="current transaction is aborted, commands ignored until end of transaction block",
        )


def test_all_servers_are_held_at_once(shop: EmbeddedPostgres) -> None:
    assert len(all_servers_of(shop.port, pool=DATABASE, size=4)) == 4
