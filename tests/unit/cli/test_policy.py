"""`policy test` judges a snapshot by any settings file and explains every verdict."""

import json
from pathlib import Path

import pytest

from poolguard.cli.exits import Exit
from poolguard.cli.main import main
from poolguard.guard.case import Case
from poolguard.guard.explain import explain
from poolguard.guard.history import History
from poolguard.guard.rules import compile_policy
from tests.unit.client.listener import listening
from tests.unit.guard.builders import LADDERS, idle
from tests.unit.guard.test_recorded import recorded

SETTINGS = """
pools: {app: {}}
policies:
  app:
    rules:
      - {name: full, when: {pool_utilisation: ">=0.9", idle_for: 1m}, then: {rollback: 5s}}
      - {name: reads, when: {wrote: false}, then: {warn: 0s}}
"""


def test_every_verdict_is_explained_key_by_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.yaml").write_text(SETTINGS)
    (tmp_path / "s.json").write_text(json.dumps(recorded()))
    assert main(["policy", "test", str(tmp_path / "s.json"), "--config", str(tmp_path / "p.yaml")], {}) is Exit.OK
    assert capsys.readouterr().out.splitlines() == [
        "1-1  pool app, idle_in_transaction, policy app: nothing",
        "  full matches for 0ms",
        "    + idle_for: 1m (found 1m10s)",
        "    + pool_utilisation: >=0.9 (found 0.9)",
        "    rollback at 5.0s in 5.0s",
        "  reads does not match",
        "    - wrote: false (found true)",
        "    warn at 0ms",
    ]


def test_a_pool_that_the_settings_lack_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.yaml").write_text("pools: {other: {}}\ndefault_pool: other\n")
    (tmp_path / "s.json").write_text(json.dumps(recorded()))
    assert main(["policy", "test", str(tmp_path / "s.json"), "--config", str(tmp_path / "p.yaml")], {}) is Exit.PROBLEM
    assert "no pool 'app'" in capsys.readouterr().err


def test_a_snapshot_of_nothing_is_told_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.json").write_text('{"transactions": []}')
    assert main(["policy", "test", str(tmp_path / "s.json")], {}) is Exit.OK
    assert "holds no transaction" in capsys.readouterr().err


@pytest.mark.parametrize(("content", "words"), [("no", "is not JSON"), ("{}", "a JSON object"), (None, "can't read")])
def test_what_is_no_snapshot_is_a_problem(
    content: str | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "s.json").write_text(content)
    assert main(["policy", "test", str(tmp_path / "s.json")], {}) is Exit.PROBLEM
    assert words in capsys.readouterr().err


def test_explain_asks_the_running_poolguard(capsys: pytest.CaptureFixture[str]) -> None:
    told = explain(Case(idle(61.0)), compile_policy("app", LADDERS), History(), 1000.0).as_json()
    with listening((200, told)) as script:
        assert main(["policy", "explain", "1-1", "--url", script.url], {}) is Exit.OK
    out = capsys.readouterr().out
    assert script.asked == [("GET", "/v1/transactions/1-1/explain", None)]
    assert out.startswith("1-1  pool app, idle_in_transaction, policy app: rollback by idle_in_transaction\n")
    assert "warn at 10.0s: due, rollback at 1m: due, terminate at 5m in 3m59s" in out


def test_record_leaves_out_what_ended_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    whole = recorded()
    (one,) = whole["transactions"]
    with listening(
        (200, {"transactions": [{"id": "1-1"}, {"id": "2-1"}], "total": 2}),
        (200, one),
        (404, {"message": "over"}),
        (200, {"pools": whole["pools"]}),
    ) as script:
        assert main(["policy", "record", "--url", script.url], {}) is Exit.OK
    snapshot = json.loads(capsys.readouterr().out)
    assert (snapshot["transactions"], snapshot["pools"]) == ([one], whole["pools"])
