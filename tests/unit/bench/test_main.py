"""bench.__main__: the command line."""

import pytest

from bench.__main__ import in_turn, main, parse
from bench.contenders import Contender


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


def contenders(names: str) -> list[Contender]:
    return [
        Contender(name=name, host="127.0.0.1", port=1, user="bench", database="bench", version="") for name in names
    ]


def test_each_is_the_first_of_a_round_as_often_as_the_others() -> None:
    rounds = ["".join(one.name for one in in_turn(contenders("abc"), turn)) for turn in range(1, 7)]
    assert rounds == ["abc", "bca", "cab"] * 2


def test_a_workload_that_nobody_present_can_run_has_no_round() -> None:
    assert list(in_turn([], 1)) == []
