"""bench.__main__: the command line."""

import pytest

from bench.__main__ import main, parse


def test_quick_is_short_but_what_is_given_by_hand_wins() -> None:
    quick = parse(["--quick", "--seconds", "3"])
    assert (quick.seconds, quick.rounds, quick.renewals) == (3, 1, 100)


def test_defaults_give_everybody_several_turns() -> None:
    options = parse([])
    assert (options.seconds, options.rounds, options.only, options.without) == (1, 12, [], [])


@pytest.mark.parametrize(
    "argv",
    [
        ["--seconds", "0"],
        ["--rounds", "-1"],
        ["--without", "nobody"],
        ["--without", "direct", "--without", "pgbouncer", "--without", "poolguard"],
    ],
)
def test_senseless_options_are_usage_errors(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(argv)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_list_prints_names_and_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--only", "tpcb*"]) == 0
    assert capsys.readouterr().out.split() == ["tpcb-simple-8", "tpcb-simple-40"]


def test_a_glob_that_matches_nothing_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "selcet*"]) == 2
    assert "--list" in capsys.readouterr().err
