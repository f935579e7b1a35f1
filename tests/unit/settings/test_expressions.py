"""How much of a text a regular expression may look at."""

import re
import time

import pytest

from poolguard.settings.expressions import FEWEST_CHARACTERS, MOST_CHARACTERS, reach


@pytest.mark.parametrize(
    "expression",
    [
        "river_leader",
        r"\briver_(?:leader|job)\b",
        "(?i)insert into audit",
        r"a|b|[*+{}]|\+\*",
        "a{3}b",
        '^update "?t"?',
    ],
)
def test_what_can_be_read_in_few_ways_sees_the_first_4_kib(expression: str) -> None:
    assert reach(expression) == MOST_CHARACTERS


@pytest.mark.parametrize(
    ("expression", "least"),
    [(r"insert\s+into", 1900), (r"insert\s+into\s+audit", 200), ('^select .* from .* "?orders', 1000), (r"^a\s+b\s+c\s+d", 200),
     (r"a\s+b|c\s+d|e\s+f", 1000), ("a{2,}b", 1900)],
)  # fmt: skip
def test_each_repeat_leaves_it_less(expression: str, least: int) -> None:
    assert least <= reach(expression) < MOST_CHARACTERS


@pytest.mark.parametrize(
    "expression",
    ["^(select .* from .* for update|update .* )", "^a.*b.*c|^d", r"(?i)\A(?:a|b).*c.*d", r"^a\|.*b.*", "^a|^b.*c.*"],
)
def test_what_begins_with_the_text_only_sees_more_of_it(expression: str) -> None:
    """Supervision 5.7: a pop's FOR UPDATE stands behind some 150 characters."""
    assert 500 <= reach(expression) < MOST_CHARACTERS


@pytest.mark.parametrize("expression", ["^a|b.*c.*d", "(^a|b).*c.*d", "|^a.*b.*c", "a^.*b.*c", "(?i)b.*c.*d"])
def test_one_alternative_that_begins_anywhere_is_enough_to_see_less(expression: str) -> None:
    assert reach(expression) < 300


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("(a+)+", "repeats a group"),
        ("(?:a|a)*b", "repeats a group"),
        ("(?P<x>a){2,9}", "repeats a group"),
        ("(a*?)*+", "repeats a group"),
        (r"(a)\1", "refers back"),
        ("(?P<x>a)(?P=x)", "refers back"),
        ("(?x)a # [", "flags"),
        ("(?m)^a", "flags"),
        ("a*b*c*d*", "too long"),
        ("a?" * 30 + "a" * 30, "too long"),
        ("(a|a)" * 30 + "b", "too long"),
        ("a{1,30}" * 3, "too long"),
        ("(", "is no regular expression"),
    ],
)
def test_what_has_no_bound_is_refused(expression: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        reach(expression)


@pytest.mark.parametrize(
    ("expression", "text"),
    [(r"a*a*b", "a"), (r"\s+\s+x", " "), (r"^\s*\s*\s*x", " "), (r"[a-c]*b?[a-d]*x", "a"), ("(?i).*foo.*bar", "foo"), (r"\w*(?:a|b)\w*x", "ab")],
)  # fmt: skip
def test_no_text_takes_long(expression: str, text: str) -> None:
    """In time of the processor's own: some 5 ms were measured, without a bound it is seconds to years."""
    size = reach(expression)
    assert size >= FEWEST_CHARACTERS
    looked_at = (text * size)[:size]
    pattern = re.compile(expression)
    began = time.process_time()
    assert pattern.search(looked_at) is None
    assert time.process_time() - began < 0.1
