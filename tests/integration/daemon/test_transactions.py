"""How transactions ended, as metrics tell it, by a real driver through a running poolguard."""

from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.integration.daemon.conftest import Run
from tests.support.daemon import Daemon
from tests.support.eventually import eventually


def ends(daemon: Daemon) -> dict[str, float]:
    outcomes = ("commit", "rollback", "error", "killed", "abandoned")
    found = {end: daemon.metric("poolguard_transactions_total", pool="app", outcome=end) for end in outcomes}
    return {end: number for end, number in found.items() if number}


def test_each_transaction_is_counted_once_by_how_it_ended(run: Run, settings: dict[str, Any]) -> None:
    daemon = run(settings)
    assert ends(daemon) == {}
    with daemon.connect(autocommit=True) as lone:
        lone.execute("SELECT 1")
        with pytest.raises(errors.DivisionByZero):
            lone.execute("SELECT 1/0")
    with daemon.connect() as client:
        for end in (client.commit, client.rollback):
            client.execute("SELECT %s::int", (1,))
            client.execute("SELECT %s::int", (2,))
            end()
        with pytest.raises(errors.DivisionByZero):
            client.execute("SELECT 1/0")
        client.rollback()
        with client.transaction():
            with pytest.raises(errors.DivisionByZero), client.transaction():
                client.execute("SELECT 1/0")
            client.execute("SELECT 1")
    assert ends(daemon) == {"commit": 3, "rollback": 1, "error": 2}
    assert daemon.metric("poolguard_transaction_seconds_count", pool="app") == 4


def test_what_is_ended_or_left_from_outside_is_told_apart(run: Run, settings: dict[str, Any]) -> None:
    daemon = run(settings)
    with daemon.connect() as leaky:
        leaky.execute("SELECT 1")
        (held,) = daemon.get("/v1/transactions")["transactions"]
        assert daemon.ask("POST", f"/v1/transactions/{held['id']}/rollback", {}).status == 200
        with pytest.raises(psycopg.Error):
            leaky.execute("SELECT 1")
        leaky.rollback()
    gone = daemon.connect()
    gone.execute("SELECT 1")
    gone.close()
    eventually(lambda: ends(daemon) == {"killed": 1, "abandoned": 1})


def test_a_silence_inside_of_a_transaction_is_seen_when_it_is_over(run: Run, settings: dict[str, Any]) -> None:
    daemon = run(settings)
    with daemon.connect() as client:
        client.execute("SELECT 1")
        eventually(lambda: daemon.get("/v1/transactions")["transactions"][0]["state_seconds"] > 0.3)
        client.commit()
    eventually(lambda: daemon.metric("poolguard_idle_in_transaction_seconds_count", pool="app") == 1)
    assert daemon.metric("poolguard_idle_in_transaction_seconds_sum", pool="app") > 0.15
