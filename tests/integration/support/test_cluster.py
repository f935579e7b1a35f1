"""Each test gets an empty database and leaves none behind."""

from pathlib import Path

import asyncpg
import psycopg
import pytest

from poolguard.demo.postgres import EmbeddedPostgres
from tests.support import cluster


def names(pg: cluster.Server) -> set[object]:
    with pg.connect() as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


def test_a_fresh_database_is_empty_and_gone_afterwards_even_while_in_use(pg: cluster.Server) -> None:
    before = names(pg)
    with pg.fresh_database() as database:
        connection = database.connect()
        with connection:
            assert names(pg) - before == {database.name}
            row = connection.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 2200").fetchone()
            assert row == (0,)
            forgotten = database.connect()
    assert names(pg) == before
    with pytest.raises(psycopg.OperationalError):
        forgotten.execute("SELECT 1")
    forgotten.close()


async def test_the_same_place_works_as_conninfo_as_url_and_in_parts(database: cluster.Database, loop_kind: str) -> None:
    async with await database.connect_async() as connection:
        assert connection.info.dbname == database.name
    by_url = await asyncpg.connect(database.url)
    by_parts = await asyncpg.connect(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password or None,
        database=database.name,
    )
    assert await by_url.fetchval("SELECT current_database()") == database.name
    assert await by_parts.fetchval("SELECT current_database()") == database.name
    await by_url.close()
    await by_parts.close()


def test_a_password_is_in_the_url_and_never_in_the_repr() -> None:
    place = cluster.Database("host=db.example port=5433 user='some one' dbname=d/1 password=p@ss")
    assert place.url == "postgresql://some%20one:p%40ss@db.example:5433/d%2F1"
    assert "p@ss" not in repr(place)


def test_a_server_by_url_is_the_same_as_by_conninfo() -> None:
    by_url = cluster.of_dsn("postgresql://me:secret@db.example:5433/postgres")
    by_conninfo = cluster.of_dsn("host=db.example port=5433 user=me password=secret dbname=postgres")
    assert by_url.url == by_conninfo.url
    assert by_url.database("other").name == "other"


def test_a_server_that_is_not_ours_can_not_be_controlled() -> None:
    with pytest.raises(pytest.skip.Exception, match="not ours"):
        cluster.of_dsn("host=db.example").control()


def test_what_one_test_breaks_is_whole_for_the_next(pg: cluster.Server) -> None:
    postgres: EmbeddedPostgres = pg.control()
    with pg.fresh_database():
        postgres.stop()
    assert postgres.running


def test_a_program_that_is_too_old_for_the_server_skips(
    pg: cluster.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes beside the server fits it; only that of PATH may be older."""
    (tmp_path / "pg_nothing").write_text("#!/bin/sh\necho pg_nothing 9.6.1\n")
    (tmp_path / "pg_nothing").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(pytest.skip.Exception, match=r"9\.6\.1 refuses a newer server"):
        pg.program("pg_nothing")
    with pytest.raises(pytest.skip.Exception, match="no pg_nowhere"):
        pg.program("pg_nowhere")
