import pytest

from poolguard.settings.problems import MOST_SHOWN, Place, Problem, SettingsProblems, did_you_mean, nearest, path_text


def test_a_line_is_written_as_compilers_write_it() -> None:
    problem = Problem(("routes", 0, "pool"), "no pool", Place(3, 7))
    assert problem.line("f.yaml") == "f.yaml:3:7: routes[0].pool: no pool"
    assert Problem((), "not there").line("f.yaml") == "f.yaml: not there"


def test_paths_are_written_as_people_write_them() -> None:
    assert path_text(("a", "b", 3, 4, "c")) == "a.b[3][4].c"


def test_problems_come_in_the_order_of_the_file_and_each_once() -> None:
    late, early = Problem(("b",), "x", Place(9, 1)), Problem(("a",), "x", Place(2, 5))
    assert SettingsProblems("f", [late, early, late]).problems == (early, late)


def test_problems_beyond_the_most_are_counted() -> None:
    problems = [Problem((str(number),), "x", Place(number, 1)) for number in range(1, MOST_SHOWN + 6)]
    lines = SettingsProblems("f", problems).message.splitlines()
    assert (len(lines), lines[-1]) == (MOST_SHOWN + 1, "f: and 5 more")


@pytest.mark.parametrize(
    ("word", "meant"),
    [("sise", "size"), ("max-waiting", "max_waiting"), ("maxWaiting", "max_waiting"), ("zebra", None)],
)
def test_the_nearest_name_is_found_however_it_was_spelt(word: str, meant: str | None) -> None:
    assert nearest(word, ["size", "max_waiting", "mode"]) == meant


def test_without_a_near_name_all_are_listed() -> None:
    assert did_you_mean("zebra", ["size", "mode"]) == "write one of size, mode"
