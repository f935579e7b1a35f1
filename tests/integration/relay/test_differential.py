"""The wire cases, compared with PostgreSQL itself: in both modes, alone and with a restless neighbour, in any cut."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.integration.relay import cases, cases_prepared
from tests.integration.relay.differential import Masked, Neighbour, Script, replay, sql
from tests.integration.relay.raw import connected
from tests.support.cluster import Database
from tests.support.running import MODES, TRANSACTION, both_modes, running

EVERY = {
    **cases.SIMPLE,
    **cases.EXTENDED,
    **cases.PREPARED,
    **cases.COPY,
    **cases.DEFERRED,
    **cases.LAST_WORDS,
    **cases_prepared.PREPARED,
}
LONG = 5000
"""Bytes that take too long one by one."""


@pytest.fixture(scope="module")
def admin(shared_database: Database) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with shared_database.connect() as connection:
        connection.execute(cases.SETUP)
        yield connection


def fresh(admin: psycopg.Connection[tuple[object, ...]]) -> None:
    """The same tables for everybody."""
    admin.execute(cases.AFRESH)


async def oracle(
    admin: psycopg.Connection[tuple[object, ...]], database: Database, script: Script
) -> list[list[Masked]]:
    fresh(admin)
    return await replay(database.port, database.name, script)


@pytest.mark.parametrize("case", EVERY)
async def test_a_client_sees_what_postgresql_says(
    case: str, admin: psycopg.Connection[tuple[object, ...]], shared_database: Database
) -> None:
    """Q1-Q7, X1-X13, X15, X20, C1-C3, C7, D2-D7, P2, P3, P7-P11, P15, L10, F1, in both modes."""
    script = EVERY[case]
    expected = await oracle(admin, shared_database, script)
    async with running(shared_database, both_modes(2)) as relay:
        for mode in MODES:
            fresh(admin)
            assert await replay(relay.port, mode, script) == expected, mode
        await relay.at_rest(sessions=0)


@pytest.mark.parametrize("case", EVERY)
async def test_a_client_does_not_notice_that_its_server_changes(
    case: str, admin: psycopg.Connection[tuple[object, ...]], shared_database: Database
) -> None:
    """The same cases, while a neighbour takes the server that was used last, at every second step."""
    script = EVERY[case]
    expected = await oracle(admin, shared_database, script)
    async with running(shared_database, both_modes(2)) as relay:
        fresh(admin)
        async with connected(relay.port, TRANSACTION) as other:
            assert await replay(relay.port, TRANSACTION, script, between=Neighbour(other).moves) == expected
        await relay.at_rest(sessions=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("part", ["SIMPLE", "EXTENDED", "PREPARED", "COPY", "DEFERRED"])
async def test_a_client_that_dribbles_sees_the_same(
    part: str, mode: str, admin: psycopg.Connection[tuple[object, ...]], shared_database: Database
) -> None:
    """L1: all cases in one conversation, a byte at a time, headers cut anywhere."""
    script = [
        step
        for steps in getattr(cases, part).values()
        if all(len(step.data) < LONG for step in steps)
        for step in (*steps, *sql("discard all"))
    ]
    expected = await oracle(admin, shared_database, script)
    async with running(shared_database, both_modes(2)) as relay:
        fresh(admin)
        assert await replay(relay.port, mode, script, dribble=True) == expected
        await relay.at_rest(sessions=0)
