"""With `privacy.statement_text: false` no text of a statement leaves poolguard, wherever one looks; fingerprints do."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psycopg
import pytest

from poolguard.wire.fingerprint import fingerprint
from tests.integration.daemon.conftest import Run
from tests.support.cluster import Database
from tests.support.daemon import Daemon
from tests.support.eventually import eventually

CANARY = "canary"
"""A column, so that it stands in nothing but statements."""
TOPICS = ("POOLS", "SESSIONS", "TRANSACTIONS", "LOCKS", "INCIDENTS", "SETTINGS")


def update(row: int) -> str:
    return f"UPDATE job SET {CANARY} = {CANARY} + 1 WHERE id = {row}"


@pytest.fixture
def daemon(run: Run, settings: dict[str, Any], database: Database) -> Daemon:
    with database.connect() as admin:
        admin.execute(f"CREATE TABLE job (id int PRIMARY KEY, {CANARY} int)")
        admin.execute("INSERT INTO job SELECT n, 0 FROM generate_series(1, 9) AS n")
    # What an operator wrote is shown, and is no statement: so the rule's expression is not the word itself.
    rule = {"name": "seen", "when": {"statement": "c.n.ry", "state": "idle_in_transaction"}, "then": {"warn": "0s"}}
    lane = {"name": "first", "match": {"statement": rf"{CANARY} \+ \?+ where id"}, "at_once": 1, "max_waiting": 0}
    settings["policies"]["watched"] = {"rules": [rule]}
    settings["pools"]["app"] |= {"policy": "watched", "size": 2, "max_waiting": 0}
    settings["pools"]["jobs"] |= {"lanes": [lane]}
    return run(settings | {"observer": {"interval": "1s"}, "privacy": {"statement_text": False}})


def everything(daemon: Daemon, transaction: str) -> Iterator[tuple[str, str]]:
    """Whatever can be asked of it, and the answers; and its log."""
    paths = daemon.get("/openapi.json")["paths"]
    for path, methods in paths.items():
        if "get" in methods and "event" not in path:
            asked = path.replace("/transactions/{id}", f"/transactions/{transaction}").replace("{name}", "app")
            if "{id}" in asked:
                asked = asked.replace("{id}", daemon.get("/v1/incidents")["incidents"][0]["id"])
            yield asked, daemon.ask("GET", asked).text
    for asked in ("/v1/locks?history=true", "/v1/locks?format=text"):
        yield asked, daemon.ask("GET", asked).text
    with psycopg.connect(daemon.conninfo("poolguard"), autocommit=True) as console:
        for topic in TOPICS:
            yield f"SHOW {topic}", str(console.execute(f"SHOW {topic}".encode()).fetchall())
    yield "log", daemon.log_text()


def test_nothing_shows_the_text_of_a_statement(daemon: Daemon) -> None:
    """supervision 6: the option to omit text entirely."""
    known = fingerprint(update(1).encode()).id
    told = [*deadlock(daemon)]
    (duplicate,) = run_all(daemon.conninfo("app"), f"INSERT INTO job (id, {CANARY}) VALUES (1, 1)")
    assert isinstance(duplicate, psycopg.errors.UniqueViolation)
    with daemon.connect("app", application_name="leaky") as leak, ThreadPoolExecutor(1) as threads:
        leak.execute(update(1))
        waiter = threads.submit(run_all, daemon.conninfo("app"), update(1))
        eventually(lambda: daemon.get("/v1/locks")["trees"], within=15)
        told += run_all(daemon.conninfo("app"), "SELECT 1")
        with daemon.connect("jobs", application_name="inside") as inside:
            inside.execute(update(5))
            told += run_all(daemon.conninfo("jobs"), update(6))
            inside.rollback()
        (held,) = [one for one in daemon.get("/v1/transactions")["transactions"] if one["application_name"] == "leaky"]
        eventually(lambda: daemon.get("/v1/incidents?rule=seen")["incidents"])
        answers = dict(everything(daemon, held["id"]))
        leak.rollback()
        assert waiter.result(20) == []
    shown = [where for where, text in answers.items() if re.search(CANARY, text)]
    assert shown == []
    assert [type(error).__name__ for error in told] == ["DeadlockDetected", "TooManyConnections", "TooManyConnections"]
    assert not [error for error in told[1:] if CANARY in str(error)], told
    assert all(known in str(error) for error in told[1:])
    for where in (
        "/v1/transactions",
        "/v1/locks",
        "/v1/errors",
        "/v1/incidents",
        "SHOW INCIDENTS",
        "SHOW LOCKS",
        "log",
    ):
        assert known in answers[where], where


def deadlock(daemon: Daemon) -> list[psycopg.Error]:
    barrier = Barrier(2)

    def work(first: int, second: int) -> list[psycopg.Error]:
        with psycopg.connect(daemon.conninfo("app")) as client:
            try:
                client.execute(update(first))
                barrier.wait(10)
                client.execute(update(second))
            except psycopg.Error as error:
                return [error]
            client.rollback()
        return []

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.submit(work, 8, 9), threads.submit(work, 9, 8)
        return [*one.result(20), *other.result(20)]


def run_all(conninfo: str, *statements: str) -> list[psycopg.Error]:
    with psycopg.connect(conninfo) as client:
        try:
            for sql in statements:
                client.execute(sql.encode())
        except psycopg.Error as error:
            return [error]
        client.rollback()
    return []
