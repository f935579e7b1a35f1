"""What `ps` prints."""

import json

import pytest

from poolguard.cli.exits import Exit
from poolguard.cli.main import main
from poolguard.cli.ps import sessions_table, transactions_table
from poolguard.web.views import transaction_view
from tests.unit.client.listener import listening
from tests.unit.guard.builders import idle

HOLDERS = [transaction_view(idle(61.0, 1)), transaction_view(idle(5.0, 2, pool="jobs", pin="LISTEN"))]
PAGE = {"transactions": HOLDERS, "total": 2}


def test_a_line_for_each_transaction_without_literals(capsys: pytest.CaptureFixture[str]) -> None:
    with listening((200, PAGE)) as script:
        assert main(["ps", "--url", script.url], {}) is Exit.OK
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["ID", "POOL", "STATE"]
    assert first.split()[:3] == ["1-1", "app", "idle_in_transaction"]
    assert first.endswith("select ?")
    assert "(pinned)" in second


def test_nothing_to_list_is_said_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with listening((200, {"transactions": [], "sessions": [], "total": 0})) as script:
        main(["ps", "--url", script.url], {})
        main(["ps", "--url", script.url, "--sessions"], {})
    assert capsys.readouterr().out.splitlines() == ["No transaction holds a server.", "No client is connected."]


def test_json_has_a_line_each_and_a_pool_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    with listening((200, PAGE)) as script:
        main(["ps", "--url", script.url, "--json", "--pool", "jobs"], {})
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["id"] == "2-1"


def test_a_pool_that_there_is_not_is_no_good_news(capsys: pytest.CaptureFixture[str]) -> None:
    pools = {"pools": [{"name": "app"}, {"name": "jobs"}]}
    nothing = {"transactions": [], "total": 0}
    with listening((200, nothing), (200, pools), (200, nothing), (200, pools)) as script:
        assert main(["ps", "--url", script.url, "--pool", "aap"], {}) is Exit.PROBLEM
        assert main(["ps", "--url", script.url, "--pool", "app"], {}) is Exit.OK
    said = capsys.readouterr()
    assert said.err.splitlines() == ["no pool 'aap'", "There are: app, jobs."]
    assert said.out.splitlines() == ["No transaction holds a server."]


def test_sessions_are_listed_too(capsys: pytest.CaptureFixture[str]) -> None:
    session = {
        "id": 7, "pool": None, "user": "bob", "database": "d", "application_name": "", "client_address": "unix",
        "state": "idle", "state_seconds": 1.0, "connected_seconds": 2.0, "transaction": None, "backend_pid": None,
        "pin": None,
    }  # fmt: skip
    with listening((200, {"sessions": [session], "total": 1})) as script:
        assert main(["ps", "--url", script.url, "--sessions"], {}) is Exit.OK
    assert "bob" in capsys.readouterr().out


def test_who_waits_in_a_lane_or_is_inside_of_one_is_shown_with_it() -> None:
    one = {
        "id": 7, "pool": "app", "user": "bob", "application_name": "", "client_address": "unix", "backend_pid": 1,
        "state": "waiting_in_lane", "state_seconds": 1.0, "connected_seconds": 2.0, "transaction": None, "pin": None,
        "lane": "job-pop",
    }  # fmt: skip
    assert "waiting_in_lane (job-pop)" in sessions_table([one])
    held = {**one, "id": "7-1", "state": "active", "transaction_seconds": 1.0, "statement": None}
    assert "active (job-pop)" in transactions_table([held])
    assert "active (pinned)" in transactions_table([{**held, "pin": "listen"}])


def test_no_poolguard_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ps", "--url", "127.0.0.1:1"], {}) is Exit.PROBLEM
    assert "no answer from 127.0.0.1:1" in capsys.readouterr().err
