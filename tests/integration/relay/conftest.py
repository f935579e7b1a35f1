"""A relay with a pool of each mode, on an empty database, on the loop that the daemon uses."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop
from psycopg import sql

from tests.support.cluster import Database, Server
from tests.support.eventually import eventually
from tests.support.running import Running, running

HERE = Path(__file__).parent
SCHEMAS = "select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'"
LEFT = (
    "select pid, query from pg_stat_activity "
    "where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'"
)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]] | None:
    """uvloop's; a test that asks for `loop_kind` runs on both, as everywhere."""
    if HERE not in item.path.parents or "loop_kind" in getattr(item, "fixturenames", ()):
        return None
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="package")
def shared_database(pg: Server) -> Iterator[Database]:
    """A database for all tests of this folder: to make one takes longer than most of them."""
    with pg.fresh_database() as fresh:
        yield fresh


@pytest.fixture
def database(shared_database: Database) -> Iterator[Database]:
    """The same, with nothing in it; afterwards no statement of anybody's may still run."""
    with shared_database.connect() as admin:
        admin.execute("set client_min_messages = error")
        for (schema,) in admin.execute(SCHEMAS).fetchall():
            admin.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(str(schema))))
        admin.execute("create schema public")
    yield shared_database
    with shared_database.connect() as admin:
        try:
            eventually(lambda: not admin.execute(LEFT).fetchall(), within=10)
        except AssertionError:
            left = admin.execute(f"select pg_terminate_backend(pid), query from ({LEFT}) as b").fetchall()
            pytest.fail(f"still running: {left}")


@pytest.fixture
async def relay(database: Database) -> AsyncIterator[Running]:
    """Two pools of five servers: `transaction` and `session`."""
    async with running(database) as started:
        yield started
