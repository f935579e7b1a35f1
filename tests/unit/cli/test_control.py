"""Which poolguard is asked, with which token, and what is said when it can't or won't answer."""

import argparse
from pathlib import Path

import pytest

from poolguard.cli.control import Control, NoAnswer, Refused, add_control
from poolguard.core.errors import PoolguardError
from tests.unit.client.listener import listening


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_control(parser)
    return parser.parse_args(given)


def test_the_token_comes_from_its_file_before_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    with listening((200, {"a": 1})) as script:
        environ = {"POOLGUARD_ADMIN_TOKEN": "from-environ", "POOLGUARD_URL": script.url}
        assert Control(arguments(), environ).get("/x") == {"a": 1}
        Control(arguments("--token-file", str(tmp_path / "token")), environ).post("/y", {"b": 2})
    assert [headers.get("Authorization") for headers in script.headers] == ["Bearer from-environ", "Bearer from-file"]
    assert script.asked == [("GET", "/x", None), ("POST", "/y", {"b": 2})]


def test_without_an_address_the_settings_say_where(tmp_path: Path) -> None:
    with listening((200, {})) as script:
        file = tmp_path / "poolguard.yaml"
        file.write_text(f"listen: {{control: {{host: 0.0.0.0, port: {script.port}}}}}\nauth: {{admin_token: given}}\n")
        Control(arguments("--config", str(file)), {}).get("/x")
    assert script.headers[0]["Authorization"] == "Bearer given"


def test_a_list_is_read_to_its_end() -> None:
    with listening((200, {"n": [1, 2], "total": 3}), (200, {"n": [3], "total": 3})) as script:
        assert Control(arguments("--url", script.url), {}).all("/n", "n") == [1, 2, 3]
    assert [path for _, path, _ in script.asked] == ["/n?limit=500&offset=0", "/n?limit=500&offset=2"]


def test_nobody_there_says_what_to_check() -> None:
    with pytest.raises(NoAnswer) as failed:
        Control(arguments("--url", "127.0.0.1:1"), {}).get("/x")
    assert "--url" in failed.value.hint


def test_a_refusal_keeps_its_words_and_a_missing_token_says_how_to_give_it() -> None:
    with listening((404, {"message": "it is over", "hint": "look"})) as script, pytest.raises(Refused) as over:
        Control(arguments("--url", script.url), {}).get("/x")
    assert (over.value.message, over.value.hint) == ("it is over", "look")
    with listening((401, {"message": "token"})) as script, pytest.raises(Refused, match="token") as locked:
        Control(arguments("--url", script.url), {}).get("/x")
    assert "--token-file" in locked.value.hint


@pytest.mark.parametrize("given", [("--url", "https://x"), ("--url", "http://"), ("--url", "x:y")])
def test_an_address_that_is_none_is_refused(given: tuple[str, ...]) -> None:
    with pytest.raises(PoolguardError, match="not the address"):
        Control(arguments(*given), {})
