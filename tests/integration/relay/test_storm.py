"""A storm: 200 random kills of clients, backends and PostgreSQL under load; afterwards every slot is there."""

import asyncio
import random
from collections.abc import Sequence
from functools import partial

import psycopg
import pytest

from poolguard.demo.postgres import EmbeddedPostgres
from tests.integration.relay.raw import connected, query, rows, tags
from tests.integration.relay.workers import Worker, all_live
from tests.support.cluster import Database
from tests.support.eventually import eventually_async
from tests.support.running import MODES, SESSION, TRANSACTION, Running, both_modes, running

KILLS = 200
RESTARTS = (50, 120)
"""At which of the kills PostgreSQL itself goes: once stopped, once killed."""
WORKERS = {TRANSACTION: 12, SESSION: 6}


class Killer:
    """Kills by lot, each time after a few conversations went well."""

    def __init__(
        self, workers: Sequence[Worker], postgres: EmbeddedPostgres, database: Database, chance: random.Random
    ) -> None:
        self._workers = workers
        self._postgres = postgres
        self._database = database
        self._chance = chance
        self.clients = self.backends = self.restarts = 0

    def _done(self) -> int:
        return sum(worker.done for worker in self._workers)

    def _have_done(self, enough: int) -> bool:
        return self._done() >= enough

    async def storm(self) -> None:
        """All KILLS of them."""
        for number in range(KILLS):
            enough = self._done() + self._chance.randrange(5)
            await eventually_async(partial(self._have_done, enough), within=30, every=0.001)
            if number in RESTARTS:
                await asyncio.to_thread(self._postgres.stop if number == RESTARTS[0] else self._postgres.kill)
                await asyncio.to_thread(self._postgres.start)
                self.restarts += 1
            elif self._chance.random() < 0.5:
                self._chance.choice(self._workers).kill()
                self.clients += 1
            else:
                self.backends += await asyncio.to_thread(self._kill_a_backend)

    def _kill_a_backend(self) -> int:
        with self._database.connect() as admin:
            killed = admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid() order by random() limit 1"
            ).fetchone()
        return int(killed is not None)


@pytest.mark.timeout(120)
async def test_a_storm_of_kills_leaves_no_slot_lost_and_no_byte_astray(
    loop_kind: str, pg_control: EmbeddedPostgres, database: Database
) -> None:
    """B1-B3: nothing held, waiting, opening; every acknowledged COMMIT is there, and nothing that was not sent."""
    chance = random.Random(20261121)
    with database.connect() as admin:
        admin.execute("create table done (id bigint, who text)")
    async with running(database, both_modes(4, wait_timeout=30)) as relay:
        workers = [
            Worker(relay.port, mode, number + 100 * place, chance)
            for place, mode in enumerate(MODES)
            for number in range(WORKERS[mode])
        ]
        killer = Killer(workers, pg_control, database, chance)
        await all_live(workers, killer.storm)
        await relay.at_rest(sessions=0, within=15)
        assert killer.restarts == 2
        assert min(killer.clients, killer.backends) > KILLS // 4
        assert sum(worker.lost for worker in workers) > KILLS // 4
        assert all(worker.done for worker in workers)
        for mode in MODES:
            await every_slot_serves(relay, mode)
    with database.connect() as admin:
        nothing_lost_nothing_invented(admin, workers)


async def every_slot_serves(relay: Running, mode: str) -> None:
    """As many clients as the pool is large, all holding at once."""
    size = relay.pool(mode).settings.size
    async with asyncio.timeout(10):
        async with (
            connected(relay.port, mode) as one,
            connected(relay.port, mode) as two,
            connected(relay.port, mode) as three,
            connected(relay.port, mode) as four,
        ):
            clients = (one, two, three, four)
            assert len(clients) == size
            for client in clients:
                assert tags(await client.ask(query("begin; select 1"))) == "CTDC ZT"
            pids = [rows(await client.ask(query("select pg_backend_pid()")))[0] for client in clients]
            assert len(set(pids)) == size
            for client in clients:
                assert tags(await client.ask(query("rollback"))) == "C ZI"


def nothing_lost_nothing_invented(admin: psycopg.Connection[tuple[object, ...]], workers: Sequence[Worker]) -> None:
    there = {row[0] for row in admin.execute("select id from done").fetchall()}
    for worker in workers:
        assert set(worker.committed) <= there, f"{worker.mark} lost work that was acknowledged"
        there -= {*worker.committed, *worker.unknown}
    assert not there, f"work that was rolled back, or never committed, is there: {there}"
    (count, distinct) = admin.execute("select count(id), count(distinct id) from done").fetchone() or (0, 1)
    assert count == distinct, "a statement was run twice"
