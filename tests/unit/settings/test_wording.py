import pytest

from poolguard.settings.load import parse
from poolguard.settings.problems import SettingsProblems


def problem(text: str, **environ: str) -> str:
    with pytest.raises(SettingsProblems) as refused:
        parse(text, "f", environ)
    (found,) = refused.value.problems
    return found.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pools:", "is empty: write a map of names, or remove the key to get the default"),
        ("routes:", "is empty: write a list, or remove the key to get the default"),
        ("log: debug", "'debug' does not fit: write a map of format, level"),
        ("log: {level: verbose}", "'verbose' is not known; write one of debug, info, warning, error"),
        ("log: {level: warn}", "'warn' is not known; did you mean warning?"),
        ("pools: {app: {wait_timeout: [1s]}}", "a list does not fit: write a duration, for example 30s"),
        ("limits: {max_clients: 0}", "'0' is out of range: it must be at least 1"),
        ("policies: {p: {budget: {max_share_of_pool: 0}}}", "'0' is out of range: it must be more than 0"),
        ("limits: {buffer_bytes: 64KB}", "'64KB' is not a size: write for example 512B, 64KiB, 16MiB or 1GiB"),
        (
            "leases: {schema: a b}",
            "'a b' can't be a name: a letter or _, then letters, digits, _ or -, 63 in all at most",
        ),
        ("leases: {ttl: 5s}", "unknown key in leases; did you mean default_ttl?"),
        ("wait_timeout: 5s", "unknown key here; wait_timeout belongs at pools.*.wait_timeout"),
    ],
)
def test_problems_say_what_to_write_instead(text: str, words: str) -> None:
    assert problem(text) == words


def test_long_values_are_cut() -> None:
    assert len(problem(f"log: {{level: {'x' * 1000}}}")) < 200


def test_a_value_that_a_variable_gave_is_shown_as_the_variable() -> None:
    assert problem("limits: {max_clients: '${N}'}", N="many") == "${N} does not fit: write a whole number"
    assert problem("leases: {schema: '${N}'}", N="a b") == "${N} can't be a name"
