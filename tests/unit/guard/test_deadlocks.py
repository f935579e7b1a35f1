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
LANGUAGES = {
    "de": "Prozess {0} wartet auf {1}-Sperre auf {2}; blockiert von Prozess {3}.",
    "es": "El proceso {0} espera {1} en {2}; bloqueado por proceso {3}.",
    "fr": "Le processus {0} attend {1} sur {2} ; bloqué par le processus {3}.",
    "it": "Il processo {0} è in attesa di {1} su {2}; bloccato dal processo {3}.",
    "ja": "プロセス {0} は {1} を {2} で待機していましたが、プロセス {3} でブロックされました",
    "ko": "{0} 프로세스가 {1} 상태로 지연되고 있음(해당 작업: {2}); {3} 프로세스에 의해 블록킹되었음",
    "ru": 'Процесс {0} ожидает в режиме {1} блокировку "{2}"; заблокирован процессом {3}.',
    "sv": "Process {0} väntar på {1} för {2}; blockerad av process {3}.",
    "uk": 'Процес {0} очікує в режимі {1} блокування "{2}"; заблокований процесом {3}.',
    "zh": "进程{0}等待在{2}上的{1}; 由进程{3}阻塞.",
}
"""Each line of the DETAIL, as PostgreSQL 15 says it."""
ROWS = {
    "de": "Tupel (0, 7) von Relation 16385 von Datenbank 16384",
    "ja": "データベース16384のリレーション16385のタプル(0,7)",
    "zh": "数据库16384的关系16385中的元组(0,7)",
}
BACKWARDS = "102 blockiert ShareLock auf 5001 von 101\n101 blockiert ShareLock auf 5002 von 102"


def test_a_cycle_of_three_is_read_with_the_victim_first() -> None:
    assert edges_of(ENGLISH) == (Edge(101, 102), Edge(102, 103), Edge(103, 101))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_cycle_of_three_is_read_in_every_language_that_postgresql_speaks(language: str) -> None:
    """Check 7: no server has to speak them here."""
    row = ROWS.get(language, "(0,7) 16385 16384")
    detail = "\n".join(
        LANGUAGES[language].format(waiter, "ShareLock", target, blocker)
        for waiter, target, blocker in ((101, "5001", 102), (102, row, 103), (103, "5003", 101))
    )
    assert edges_of(detail) == (Edge(101, 102), Edge(102, 103), Edge(103, 101))


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
