"""`kill` says what became of it, and its exit code is 0 only if it was done."""

import json

import pytest

from poolguard.cli.exits import Exit
from poolguard.cli.main import main
from tests.unit.client.listener import listening


@pytest.mark.parametrize(
    ("outcome", "code", "words"),
    [
        ("done", Exit.OK, "rollback of 4-2: done (incident x-1)"),
        ("victim_moved", Exit.PROBLEM, "it was over"),
        ("refused", Exit.PROBLEM, "--cancel first"),
        ("failed", Exit.PROBLEM, "poolguard ps"),
    ],
)
def test_outcomes(outcome: str, code: Exit, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with listening((200, {"outcome": outcome, "id": "x-1"})) as script:
        assert main(["kill", "4-2", "--rollback", "--actor", "jo", "--url", script.url], {}) is code
    told = capsys.readouterr()
    assert words in (told.out if code is Exit.OK else told.err)
    assert script.asked == [("POST", "/v1/transactions/4-2/rollback", {"actor": "jo"})]


def test_json_is_the_incident(capsys: pytest.CaptureFixture[str]) -> None:
    with listening((200, {"outcome": "done", "id": "x-1"})) as script:
        main(["kill", "4-2", "--terminate", "--json", "--url", script.url], {})
    assert json.loads(capsys.readouterr().out)["id"] == "x-1"
    assert script.asked[0][2]["actor"]


def test_an_id_can_not_name_another_path() -> None:
    with listening((404, {"message": "no"})) as script:
        main(["kill", "../admin", "--cancel", "--url", script.url], {})
    assert script.asked[0][1] == "/v1/transactions/..%2Fadmin/cancel"


@pytest.mark.parametrize("given", [["kill", "4-2"], ["kill", "--cancel"], ["kill", "4-2", "--cancel", "--rollback"]])
def test_what_to_do_must_be_said_and_only_once(given: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given, {})
    assert ended.value.code == Exit.USAGE


def test_a_cancel_of_what_stands_idle_says_what_would_end_it(capsys: pytest.CaptureFixture[str]) -> None:
    with listening((200, {"outcome": "victim_moved", "id": "x-1"})) as script:
        assert main(["kill", "4-2", "--cancel", "--url", script.url], {}) is Exit.PROBLEM
    assert "no statement of it runs; --rollback ends" in capsys.readouterr().err
