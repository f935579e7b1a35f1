"""PostgreSQL's own programs, unchanged: psql and pgbench."""

import asyncio
import importlib.util
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from poolguard.demo.binaries import HOW_TO_GET, WHEEL
from tests.support.cluster import Database, Server
from tests.support.running import MODES, SESSION, TRANSACTION, Running, both_modes, running

SCALE = 10
CLIENTS = 40
TRANSACTIONS_EACH = 250


def find(pg: Server, name: str) -> Path:
    """The program: beside the server (or where its symbolic link points to), on PATH, or in the extra's wheel."""
    folders = [Path(found).parent for found in [shutil.which(name)] if found]
    if pg.embedded is not None:
        folder = pg.embedded.binaries.folder
        folders = [folder, (folder / "postgres").resolve().parent, *folders]
    if (spec := importlib.util.find_spec(WHEEL)) is not None:
        folders += [Path(root) / "pginstall" / "bin" for root in spec.submodule_search_locations or ()]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    pytest.skip(f"no {name} was found: {HOW_TO_GET}")


async def program(pg: Server, name: str, *arguments: str) -> str:
    """Run one of PostgreSQL's programs to its end; its output. Fails unless it succeeds."""
    binary = find(pg, name)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    process = await asyncio.create_subprocess_exec(
        str(binary), *arguments, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    return out.decode()


@pytest.fixture
async def ten(database: Database) -> AsyncIterator[Running]:
    """Ten servers a pool."""
    async with running(database, both_modes(10)) as started:
        yield started


@pytest.mark.parametrize("mode", MODES)
async def test_psql(mode: str, pg: Server, ten: Running, tmp_path: Path) -> None:
    """Commands, a transaction, \\copy both ways, \\gset and \\bind; its exit code for an error."""
    source, result = tmp_path / "in", tmp_path / "out"
    source.write_text("".join(f"{number}\n" for number in range(1000)))

    async def psql(*commands: str) -> str:
        options = [f"--command={command}" for command in commands]
        return await program(pg, "psql", "-XAtq", "--set=ON_ERROR_STOP=1", f"--dbname={ten.dsn(mode)}", *options)

    assert await psql("select 1", "select 2; select 3") == "1\n2\n3\n"
    await psql("create table t (a int)", "begin", "insert into t values (-1)", "rollback")
    await psql(f"\\copy t from '{source}'", f"\\copy t to '{result}'")
    assert result.read_text() == source.read_text()
    assert await psql("select count(*) as n from t") == "1000\n"
    with pytest.raises(AssertionError, match="division by zero"):
        await psql("select 1/0")
    await ten.at_rest(sessions=0)


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("mode", MODES)
async def test_pgbench_selects(protocol: str, mode: str, pg: Server, ten: Running) -> None:
    """In transaction mode with more clients than servers."""
    await program(pg, "pgbench", "--initialize", "--quiet", "--scale=1", ten.dsn(mode))
    clients = 8 if mode == SESSION else CLIENTS
    out = await program(
        pg, "pgbench", "--select-only", "--no-vacuum", f"--protocol={protocol}", f"--client={clients}", "--jobs=1",
        "--transactions=50", ten.dsn(mode),
    )  # fmt: skip
    assert f"number of transactions actually processed: {50 * clients}/{50 * clients}" in out
    await ten.at_rest(sessions=0)


async def test_pgbench_tpc_b_leaves_the_balances_right(pg: Server, ten: Running, database: Database) -> None:
    """40 clients on 10 servers, 10,000 transactions: the sums of all four tables are equal, and none was lost."""
    await program(pg, "pgbench", "--initialize", "--quiet", "--unlogged-tables", f"--scale={SCALE}", ten.dsn())
    out = await program(
        pg, "pgbench", "--no-vacuum", f"--client={CLIENTS}", f"--transactions={TRANSACTIONS_EACH}", ten.dsn(TRANSACTION)
    )
    expected = CLIENTS * TRANSACTIONS_EACH
    assert f"number of transactions actually processed: {expected}/{expected}" in out
    assert "number of failed transactions: 0" in out
    with database.connect() as admin:
        sums = admin.execute(
            "select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers), "
            "(select sum(bbalance) from pgbench_branches), (select sum(delta) from pgbench_history), "
            "(select count(*) from pgbench_history)"
        ).fetchone()
    assert sums is not None
    assert len(set(sums[:4])) == 1
    assert sums[4] == expected
    await ten.at_rest(sessions=0)
