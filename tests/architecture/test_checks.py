"""docs/checks.md: every check of the guard has a test that bears its number, the second with every driver that it names."""

from typing import Final

import pytest

from tests.interop.drivers import DRIVERS, LEAKED
from tests.support.checks import checks, held_by, numbers

LISTED: Final = checks()
HELD: Final = held_by()


def test_the_list_is_whole() -> None:
    assert list(LISTED) == list(range(1, 13))


@pytest.mark.parametrize("number", LISTED, ids=lambda number: f"check {number}")
def test_every_check_has_a_test(number: int) -> None:
    assert HELD.get(number), f"no test names check {number} in its docstring: {LISTED[number]}"


def test_no_test_claims_a_check_that_there_is_not() -> None:
    assert HELD.keys() <= LISTED.keys()


@pytest.mark.parametrize(
    ("docstring", "found"),
    [
        ("Check 4: its locks.", {4}),
        ("G11, check 2.", {2}),
        ("checks 4, 5 and 12", {4, 5, 12}),
        ("checked 3 times", set()),
    ],
)
def test_numbers_are_read_from_docstrings(docstring: str, found: set[int]) -> None:
    assert numbers(docstring) == found


def test_every_driver_that_check_2_names_is_tried_on_leaked_transactions() -> None:
    tried = {driver.name for driver in DRIVERS if set(LEAKED) <= set(driver.scenarios)}
    assert {"psycopg", "asyncpg", "pgx", "node-postgres", "postgres.js", "PDO", "pgjdbc"} <= tried
