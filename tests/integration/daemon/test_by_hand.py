"""What an operator does to a transaction over HTTP, with and without an admin token."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import psycopg
import pytest
from psycopg import errors

from tests.integration.daemon.clients import leaks
from tests.integration.daemon.conftest import Run
from tests.support.daemon import Daemon
from tests.support.eventually import eventually

TOKEN: Final = "a-token-that-nobody-may-see"


@pytest.fixture
def daemon(run: Run, settings: dict[str, Any]) -> Daemon:
    return run(settings)


def _only_transaction(daemon: Daemon, state: str) -> str:
    def found() -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = daemon.get(f"/v1/transactions?state={state}")["transactions"]
        return listed

    [transaction] = eventually(found)
    return str(transaction["id"])


@contextmanager
def long_statement(daemon: Daemon) -> Iterator["Future[BaseException | None]"]:
    """A client in the middle of a statement; the future is what it got in the end."""

    def run() -> BaseException | None:
        with psycopg.connect(daemon.conninfo("app"), autocommit=True) as client:
            try:
                client.execute("SELECT pg_sleep(30)")
            except psycopg.Error as error:
                return error
        return None

    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(run)


def test_rollback_ends_the_transaction_and_keeps_the_session(daemon: Daemon) -> None:
    with leaks(daemon, "app", 1) as [leak]:
        answer = daemon.ask("POST", f"/v1/transactions/{_only_transaction(daemon, 'idle_in_transaction')}/rollback", {})
        assert (answer.status, answer.json["outcome"], answer.json["kind"]) == (200, "done", "by_hand")
        with pytest.raises(psycopg.errors.OperatorIntervention, match=answer.json["id"]):
            leak.client.execute("SELECT 1")
        leak.client.rollback()
        assert leak.client.execute("SELECT pg_backend_pid()").fetchone() == (leak.backend_pid,)


def test_cancel_ends_the_statement_and_keeps_the_session(daemon: Daemon) -> None:
    with long_statement(daemon) as got:
        path = f"/v1/transactions/{_only_transaction(daemon, 'active')}/cancel"
        answer = daemon.ask("POST", path, {"actor": "jo"})
        assert (answer.status, answer.json["outcome"]) == (200, "done")
        assert answer.json["actor"].startswith("jo (127.0.0.1")
        assert isinstance(got.result(timeout=10), errors.QueryCanceled)


def test_terminate_ends_statement_session_and_server(daemon: Daemon) -> None:
    with long_statement(daemon) as got:
        answer = daemon.ask("POST", f"/v1/transactions/{_only_transaction(daemon, 'active')}/terminate", {})
        assert (answer.status, answer.json["outcome"]) == (200, "done")
        told = got.result(timeout=10)
        assert isinstance(told, psycopg.OperationalError)
        assert answer.json["id"] in str(told)
    eventually(lambda: daemon.pool("app")["closed_total"]["terminated"] == 1)
    assert daemon.get("/v1/incidents?action=terminate")["total"] == 1
    assert eventually(lambda: daemon.logged("a session was ended"))[0]["outcome"] == "done"


def test_a_rollback_while_a_statement_runs_is_refused_and_does_nothing(daemon: Daemon) -> None:
    with long_statement(daemon) as got:
        transaction = _only_transaction(daemon, "active")
        answer = daemon.ask("POST", f"/v1/transactions/{transaction}/rollback", {})
        assert (answer.status, answer.json["outcome"]) == (200, "refused")
        assert not got.done()
        daemon.ask("POST", f"/v1/transactions/{transaction}/cancel", {})


def test_a_transaction_that_is_over_can_not_be_acted_on(daemon: Daemon) -> None:
    answer = daemon.ask("POST", "/v1/transactions/1-1/rollback", {})
    assert (answer.status, answer.json["error"]) == (404, "not_found")


@pytest.mark.parametrize("given_in", ["settings", "environment"])
def test_where_a_token_is_set_only_its_bearer_may_act(run: Run, settings: dict[str, Any], given_in: str) -> None:
    environ = {}
    if given_in == "settings":
        settings["auth"] = {"admin_token": TOKEN}
    else:
        environ["POOLGUARD_ADMIN_TOKEN"] = TOKEN
    daemon = run(settings, environ=environ)
    with leaks(daemon, "app", 1) as [leak]:
        path = f"/v1/transactions/{_only_transaction(daemon, 'idle_in_transaction')}/rollback"
        for headers, status in (({}, 401), ({"Authorization": "Bearer wrong"}, 403)):
            assert daemon.ask("POST", path, {}, headers).status == status
            assert leak.client.execute("SELECT pg_backend_pid()").fetchone() == (leak.backend_pid,)
        assert daemon.ask("POST", path, {}, {"Authorization": f"Bearer {TOKEN}"}).json["outcome"] == "done"
        with pytest.raises(errors.OperatorIntervention):
            leak.client.execute("SELECT 1")
    assert TOKEN not in daemon.log_text()
