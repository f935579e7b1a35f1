import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.settings.places import read
from poolguard.settings.problems import Place


def test_scalars_stay_the_text_that_was_written() -> None:
    document = read("a: no\nb: 0123\nc: 1e3\nd: 2026-01-01\ne: null\nf: ~\ng: ''\nh: 'null'\non: x", {})
    assert document.data == {
        "a": "no", "b": "0123", "c": "1e3", "d": "2026-01-01", "e": None, "f": None, "g": "", "h": "null", "on": "x",
    }  # fmt: skip


def test_every_key_and_value_has_its_place() -> None:
    document = read("pools:\n  app: {size: 5}\nroutes:\n  - pool: app\n", {})
    assert document.keys["pools", "app", "size"] == Place(2, 9)
    assert document.values["pools", "app", "size"] == Place(2, 15)
    assert document.values["routes", 0, "pool"] == Place(4, 11)
    assert document.place(("routes", 0, "match")) == Place(4, 5)
    assert document.place(("default_pool",)) == Place(1, 1)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null"])
def test_an_empty_text_holds_no_settings(text: str) -> None:
    document = read(text, {})
    assert (document.data, document.problems) == ({}, [])


def test_a_key_that_stands_twice_is_a_problem_at_the_second() -> None:
    document = read("a: 1\nb: 2\na: 3\n", {})
    (problem,) = document.problems
    assert (problem.place, problem.text) == (Place(3, 1), "written twice, first on line 1: keep one of them")


def test_variables_are_filled_after_the_yaml_was_read() -> None:
    environ = {"PW": "x: [y\n# *", "N": "5"}
    document = read('a: ${PW}\nb: "${PW}!"\nc: ${N}\n', environ)
    assert document.data == {"a": environ["PW"], "b": environ["PW"] + "!", "c": "5"}
    assert document.written["a",] == "${PW}"


def test_an_unquoted_value_that_is_filled_to_nothing_counts_as_not_given() -> None:
    document = read('a: ${NO:-}\nb: "${NO:-}"\nc: [x, "${NO:-}", "${NO:-}"]', {})
    assert document.data == {"b": "", "c": ["x", "", ""]}


def test_an_unset_variable_is_a_problem_and_its_key_unread() -> None:
    document = read("a: ${NO}\nb: 1", {})
    assert document.data == {"b": "1"}
    assert document.unread == {("a",)}
    assert [problem.place for problem in document.problems] == [Place(1, 4)]


def test_aliases_and_merges_are_resolved_and_own_keys_win() -> None:
    document = read("base: &base {a: 1, b: 2}\nx: {<<: *base, b: 3}\ny: *base\nz: {<<: [*base, {c: 4}]}", {})
    assert document.problems == []
    assert document.data["x"] == {"a": "1", "b": "3"}
    assert document.data["y"] == {"a": "1", "b": "2"}
    assert document.data["z"] == {"a": "1", "b": "2", "c": "4"}


def test_the_first_of_several_merged_maps_wins() -> None:
    assert read("z: {<<: [{a: 1}, {a: 2}]}", {}).data["z"] == {"a": "1"}


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("- a", Place(1, 1), "must be a map"),
        ("text", Place(1, 1), "must be a map"),
        ("a: [1, 2", Place(1, 9), "not valid YAML"),
        ("a: {b: ${C}}", Place(1, 9), "in quotes, as"),
        ("a: b: c", Place(1, 5), "check the indentation, and quote values"),
        ("a:\n\t- b", Place(2, 1), "spaces, not with tabs"),
        ("a: !env X", Place(1, 4), "tags (!...)"),
        ("a: &a [*a]", Place(1, 4), "holds itself"),
        ("a: 1\n---\nb: 2", Place(2, 1), "not valid YAML"),
        ("? [a]\n: b", Place(1, 3), "a key must be plain text"),
        ("a: {<<: 5}", Place(1, 9), "<< merges maps"),
        ("a: \x01", Place(1, 1), "a character that YAML doesn't allow"),
    ],
)
def test_what_can_not_be_read_is_a_problem_with_its_place(text: str, place: Place, words: str) -> None:
    problems = read(text, {}).problems
    assert [problem.place for problem in problems] == [place]
    assert words in problems[0].text


@pytest.mark.parametrize(
    "password", ["*hunter2", "&hunter2 &x", "!hunter2", "%hunter2", "@hunter2", "'hunter2", "[hunter2"]
)
def test_an_unquoted_password_that_breaks_the_yaml_is_not_shown(password: str) -> None:
    problems = read(f"auth:\n  admin_token: {password}\n", {}).problems
    assert problems
    assert not any("hunter2" in problem.text for problem in problems)


def test_a_small_text_can_not_unfold_without_bound() -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10)]
    (problem,) = read("\n".join(lines), {}).problems
    assert "more than" in problem.text


def test_merges_can_not_unfold_without_bound() -> None:
    lines = ["l0: &l0 {x: 1}"]
    lines += [f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    (problem,) = read("\n".join(lines), {}).problems
    assert "more than" in problem.text


def test_deep_nesting_is_a_problem_and_no_crash() -> None:
    (problem,) = read("a: " + "[" * 1000, {}).problems
    assert problem.text == "nested too deeply to be settings"


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"#%@`,?$<~ \n\t\0\ud7ff"), max_size=40))
def test_no_text_makes_reading_raise(text: str) -> None:
    read(text, {})
