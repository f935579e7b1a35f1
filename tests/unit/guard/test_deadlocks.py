"""The DETAIL of a deadlock is read by its numbers, in any language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.guard.deadlocks import Edge, edges_of

ENGLISH = (
    "Process 101 waits for ShareLock on transaction 5001; blocked by process 102.\n"
    "Process 102 waits for ShareLock on transaction 5002; blocked by process 103.\n"
    "Process 103 waits for ExclusiveLock on tuple (0,7) of relation 16385 of database 16384; blocked by process 101."
)
GERMAN = (
    "Prozess 101 wartet auf ShareLock-Sperre auf Transaktion 5001; blockiert von Prozess 102.\n"
    "Prozess 102 wartet auf ShareLock-Sperre auf Transaktion 5002; blockiert von Prozess 101."
)
BACKWARDS = "102 blockiert ShareLock auf 5001 von 101\n101 blockiert ShareLock auf 5002 von 102"


def test_a_cycle_of_three_is_read_with_the_victim_first() -> None:
    assert edges_of(ENGLISH) == (Edge(101, 102), Edge(102, 103), Edge(103, 101))


def test_words_do_not_matter() -> None:
    assert edges_of(GERMAN) == (Edge(101, 102), Edge(102, 101))


def test_a_language_that_names_the_blocker_first_is_read_too() -> None:
    assert {frozenset(edge) for edge in edges_of(BACKWARDS)} == {frozenset({101, 102})}


@pytest.mark.parametrize(
    "detail",
    [
        "",
        "nothing",
        "Process 1 waits for ShareLock on transaction 5; blocked by process 2.",
        "Process 1 waits; blocked by process 2.\nProcess 1 waits; blocked by process 3.",
        "Process 1 waits; blocked by process 2.\nProcess 2 waits; blocked by process 1.\nProcess 3 waits; blocked by 4.",
        "1 2\n2 1\n3 4\n4 3",
    ],
)
def test_what_is_no_cycle_is_not_guessed_at(detail: str) -> None:
    assert edges_of(detail) == ()


@given(pids=st.lists(st.integers(1, 4_000_000), min_size=2, max_size=10, unique=True))
def test_any_cycle_is_found_again(pids: list[int]) -> None:
    pairs = list(zip(pids, [*pids[1:], pids[0]], strict=True))
    detail = "\n".join(f"Process {a} waits for ShareLock on transaction 77; blocked by process {b}." for a, b in pairs)
    assert edges_of(detail) == tuple(Edge(a, b) for a, b in pairs)
