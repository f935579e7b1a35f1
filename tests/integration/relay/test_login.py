"""Passwords of clients: SCRAM through psycopg and asyncpg, wrong ones, unknown users."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import psycopg
import pytest

from poolguard.settings.model import Auth, AuthMethod, User
from poolguard.wire import startup
from tests.integration.relay.raw import Raw, query
from tests.support.cluster import Database
from tests.support.running import MODES, TRANSACTION, Running, running

PASSWORD = "p\u00e4ss'w\\ord=1,n=x"


@pytest.fixture
async def guarded(database: Database) -> AsyncIterator[Running]:
    auth = Auth(method=AuthMethod.SCRAM, users={"app": User(password=PASSWORD)})
    async with running(database, auth=auth) as started:
        yield started


@pytest.mark.parametrize("mode", MODES)
async def test_the_right_password_opens(mode: str, guarded: Running) -> None:
    connection = await psycopg.AsyncConnection.connect(guarded.dsn(mode, user="app", password=PASSWORD))
    async with connection:
        cursor = await connection.execute("select current_user")
        assert await cursor.fetchone() == ("postgres",), "the pool's own user does the work"
    other = await asyncpg.connect(host="127.0.0.1", port=guarded.port, user="app", password=PASSWORD, database=mode)
    assert await other.fetchval("select 1") == 1
    await other.close()


async def refusal_of(relay: Running, user: str, password: str) -> psycopg.OperationalError:
    with pytest.raises(psycopg.OperationalError) as failed:
        await psycopg.AsyncConnection.connect(relay.dsn(user=user, password=password))
    return failed.value


async def test_a_wrong_password_and_an_unknown_user_look_the_same(guarded: Running) -> None:
    """S13: 28P01, and the same words but for the name that the client gave itself."""
    wrong = str(await refusal_of(guarded, "app", "wrong"))
    unknown = str(await refusal_of(guarded, "nobody", "wrong"))
    assert wrong.replace('"app"', '"nobody"') == unknown
    for user in ("app", "nobody"):
        with pytest.raises(asyncpg.InvalidPasswordError) as failed:
            await asyncpg.connect(host="127.0.0.1", port=guarded.port, user=user, password="wrong", database="x")
        assert failed.value.sqlstate == "28P01"
    await guarded.at_rest(sessions=0)
    assert guarded.pool().checkouts == 0, "nobody came in, so no server was needed"


async def test_no_word_is_heard_before_the_password(guarded: Running) -> None:
    """A statement sent in the password's place, or behind the start-up packet, does nothing but end the login."""
    raw = await Raw.dial(guarded.port)
    raw.send(startup.startup_packet({"user": "app", "database": TRANSACTION}) + query("create table t ()"))
    asked, refused = await raw.until_closed()
    assert asked.tag == "R"
    assert refused.sqlstate == "08P01"
    await raw.end()


async def test_a_client_that_goes_in_the_middle_of_its_login_leaves_nothing(guarded: Running) -> None:
    raws = [await Raw.dial(guarded.port) for _ in range(10)]
    for raw in raws:
        raw.send(b"\0\0\0\x1a\0\3\0\0user\0app\0database\0")
    await asyncio.gather(*(raw.end() for raw in raws))
    await guarded.at_rest(sessions=0)
