"""`poolguard lease ls|get|release|step-down` against a real daemon."""

import json

import pytest

from poolguard.cli.exits import Exit
from poolguard.cli.main import main
from tests.support.sidecars import ADMIN_TOKEN, Sidecar
from tests.unit.client.listener import listening

Capture = pytest.CaptureFixture[str]


def lease(sidecar: Sidecar, *arguments: str, admin: bool = False) -> int:
    environ = {"POOLGUARD_URL": sidecar.url, **({"POOLGUARD_ADMIN_TOKEN": ADMIN_TOKEN} if admin else {})}
    return main(["lease", *arguments], environ)


def test_ls_shows_a_table_and_json(sidecar: Sidecar, capsys: Capture) -> None:
    with sidecar.client() as client:
        term = client.acquire("ls/a", holder="one", ttl_seconds=60)
        client.release(client.acquire("ls/b", holder="two", ttl_seconds=60))
    assert lease(sidecar, "ls", "--prefix", "ls/") == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["NAME", "HOLDER"], ["ls/a", "one"], ["ls/b", "-"]]
    assert str(term.token) in lines[1]
    assert "free" in lines[2]
    assert lease(sidecar, "ls", "--prefix", "ls/", "--json") == Exit.OK
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["name"] for one in shown] == ["ls/a", "ls/b"]


def test_get_tells_by_its_exit_code_whether_it_is_held(sidecar: Sidecar, capsys: Capture) -> None:
    assert lease(sidecar, "get", "get-never") == Exit.NOT_HELD
    assert "nobody has ever held" in capsys.readouterr().err
    with sidecar.client() as client:
        term = client.acquire("get", holder="one")
        assert lease(sidecar, "get", "get", "--json") == Exit.OK
        assert json.loads(capsys.readouterr().out)["token"] == term.token
        client.release(term)
        assert lease(sidecar, "get", "get") == Exit.NOT_HELD
    assert "free" in capsys.readouterr().out


def test_release_names_a_term_and_hits_no_other(sidecar: Sidecar, capsys: Capture) -> None:
    with sidecar.client() as client:
        term = client.acquire("release", holder="one")
    wrong = lease(sidecar, "release", "release", "--holder", "one", "--token", str(term.token - 1))
    assert (wrong, sidecar.holder_of("release")) == (Exit.NOT_HELD, "one")
    assert lease(sidecar, "release", "release", "--holder", "one", "--token", str(term.token)) == Exit.OK
    assert sidecar.holder_of("release") is None
    assert lease(sidecar, "release", "release", "--token", "1") == Exit.USAGE
    assert "--holder" in capsys.readouterr().err


def test_force_needs_the_admin_token(sidecar: Sidecar, capsys: Capture) -> None:
    with sidecar.client() as client:
        client.acquire("force", holder="one")
    assert lease(sidecar, "release", "force", "--force") == Exit.PROBLEM
    assert "$POOLGUARD_ADMIN_TOKEN" in capsys.readouterr().err
    assert lease(sidecar, "release", "force", "--force", "--reason", "it hangs", admin=True) == Exit.OK
    (told,) = sidecar.daemon.get("/v1/incidents")["incidents"]
    assert (told["term"]["lease"], told["reason"]) == ("force", "it hangs")
    assert told["actor"].endswith("(127.0.0.1)")
    assert sidecar.holder_of("force") is None
    assert lease(sidecar, "release", "force", "--force", admin=True) == Exit.NOT_HELD


def test_step_down_asks_the_holder_and_tells_when_there_is_none(sidecar: Sidecar, capsys: Capture) -> None:
    with sidecar.client() as client:
        term = client.acquire("step", holder="one", ttl_seconds=60)
        assert not term.step_down
        assert lease(sidecar, "step-down", "step", "--hold-off", "30s", "--prefer", "two") == Exit.OK
        assert client.renew(term).step_down
    assert lease(sidecar, "step-down", "step-never") == Exit.NOT_HELD
    assert "step-never" in capsys.readouterr().err


def test_without_poolguard_it_is_a_problem_that_names_the_address(capsys: Capture) -> None:
    assert main(["lease", "ls", "--url", "http://127.0.0.1:1"], {}) == Exit.PROBLEM
    told = capsys.readouterr().err
    assert "no poolguard at 127.0.0.1:1" in told
    assert "--url" in told, "it says what to do"


def test_a_duration_that_is_none_is_told_with_what_to_write(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["lease", "run", "a", "--ttl", "soon", "--", "true"], {})
    assert "'soon' is not a duration: write for example" in capsys.readouterr().err


def test_force_where_no_admin_token_is_set_says_to_set_one(capsys: Capture) -> None:
    refusal = {"error": "not_allowed", "message": "none is set", "hint": "Set auth.admin_token."}
    with listening((403, refusal)) as script:
        assert main(["lease", "release", "a", "--force", "--url", script.url], {}) == Exit.PROBLEM
    assert "Set auth.admin_token. This command takes it from $POOLGUARD_ADMIN_TOKEN." in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["lease"], ["lease", "get"], ["lease", "release", "a"], ["lease", "release", "a", "--token", "1", "--force"]],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments, {})
    assert ended.value.code == Exit.USAGE
