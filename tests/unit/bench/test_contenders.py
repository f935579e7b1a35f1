"""bench.contenders: the poolers' settings are fair and valid."""

import configparser
import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from bench import contenders
from bench.contenders import (
    POOLS,
    Contender,
    Upstream,
    parse_pgbouncer_version,
    pgbouncer_settings,
    poolguard_settings,
)
from bench.processes import BenchError
from bench.workloads import POOL_SIZE, all_workloads
from poolguard.settings.model import Settings

UPSTREAM = Upstream(host="127.0.0.1", port=5555, user="postgres", database="bench")


def contender(*, prepares: bool) -> Contender:
    return Contender(name="x", host="h", port=1, user="u", database="d", version="1", prepares=prepares)


def pgbouncer_ini(version: tuple[int, int]) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None)
    found.read_string(pgbouncer_settings(UPSTREAM, port=7, folder=Path("/f"), version=version))
    return found


def test_both_poolers_have_the_same_number_of_servers() -> None:
    settings = json.loads(poolguard_settings(UPSTREAM, clients=1, control=2, metrics=3))
    ini = pgbouncer_ini((1, 18))
    assert settings["pools"]["app"]["size"] == int(ini["pgbouncer"]["default_pool_size"]) == POOL_SIZE
    assert ini["pgbouncer"]["pool_mode"] == "transaction"


def test_poolguard_takes_its_settings() -> None:
    text = poolguard_settings(UPSTREAM, clients=1, control=2, metrics=3)
    settings = TypeAdapter(Settings).validate_python(json.loads(text))
    assert {name: pool.size for name, pool in settings.pools.items()} == POOLS
    assert {pool.policy for pool in settings.pools.values()} == {"bench"}
    assert settings.listen.clients.port == 1


@pytest.mark.parametrize(
    ("version", "expected"), [((1, 18), False), ((1, 20), False), ((1, 21), True), ((1, 25), True)]
)
def test_pgbouncer_prepares_since_1_21(version: tuple[int, int], expected: bool) -> None:
    assert contenders.prepares(version) is expected
    assert pgbouncer_ini(version).has_option("pgbouncer", "max_prepared_statements") is expected


def test_who_can_not_prepare_sits_out_the_prepared_workloads_only() -> None:
    out = [w for w in all_workloads() if not contender(prepares=False).can_run(w)]
    assert [w.protocol for w in out] == ["prepared"] * 4
    assert all(contender(prepares=True).can_run(w) for w in all_workloads())


def test_pgbouncer_version_is_read() -> None:
    assert parse_pgbouncer_version("PgBouncer 1.18.0\nlibevent 2.1.12-stable\n") == (1, 18)


def test_an_unreadable_version_says_what_to_do() -> None:
    with pytest.raises(BenchError, match="--without pgbouncer"):
        parse_pgbouncer_version("what?")


def test_a_machine_without_pgbouncer_is_no_error(tmp_path: Path) -> None:
    assert contenders.find_pgbouncer(str(tmp_path)) is None
