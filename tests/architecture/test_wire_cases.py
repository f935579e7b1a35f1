"""docs/wire-cases.md: every case has a test."""

from typing import Final

import pytest

from tests.support.wire_cases import cases, held_by

FAMILIES: Final = {
    "S": 15, "Q": 7, "X": 23, "P": 18, "C": 8, "K": 7, "A": 5, "T": 12, "L": 10, "F": 4, "B": 8, "G": 11, "D": 9,
}  # fmt: skip


def test_the_list_is_whole() -> None:
    every = [f"{family}{number}" for family, last in FAMILIES.items() for number in range(1, last + 1)]
    assert list(cases()) == every


NOT_YET: Final[frozenset[str]] = frozenset()
"""Cases whose tests are still to be written."""


@pytest.mark.parametrize("case", [case for case in cases() if case not in NOT_YET])
def test_every_case_has_a_test(case: str) -> None:
    assert held_by_id.get(case), f"no test names {case} in its name or docstring: {cases()[case]}"


held_by_id: Final = held_by()
