"""Every fault that leases must survive has a test that bears its number."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
FAULTS: Final = {
    1: "a holder is suspended for longer than its term",
    2: "a sidecar is suspended for longer than its term",
    3: "packets are lost, both ways or one; an answer is lost after its commit",
    4: "PostgreSQL restarts, with a renewal in flight",
    5: "a failover loses the last grant",
    6: "a failover loses the last renewal",
    7: "a server turns read-only and leaves its sockets open",
    8: "the wall clock of a sidecar's host is set",
    9: "PostgreSQL's clock is set forward",
    10: "all pools are exhausted, their queues full",
    11: "PostgreSQL has no slot left when a lease connection is lost",
    12: "a sidecar gets little CPU",
    13: "two sidecars have the same holder; an old pod ends while a new one starts",
    14: "a renewal meets a takeover in the moment of expiry",
    15: "a release races a takeover, is repeated, or is an old term's",
    16: "a renewal waits for a lock past the end of its term",
    17: "a sidecar crashes and comes back",
    18: "an application dies, its sidecar does not",
    19: "the row is deleted, the table truncated",
    20: "a transaction stays open elsewhere",
    21: "the role has odd defaults",
    22: "an answer comes later than trust",
    23: "news of a release are lost",
    24: "a lease is released by force while its holder works",
    25: "many contend for one name, and its holder dies",
}


def numbers() -> set[int]:
    """Of the faults that tests name."""
    found: set[int] = set()
    for path in (ROOT / "tests" / "integration").rglob("test_*.py"):
        found.update(int(number) for number in re.findall(r"def test_fault_(\d+)_", path.read_text()))
    return found


@pytest.mark.parametrize("number", FAULTS, ids=lambda number: f"{number}: {FAULTS[number]}")
def test_every_fault_has_a_test(number: int) -> None:
    assert number in numbers()


def test_numbers_are_of_faults_that_are_listed() -> None:
    assert numbers() <= FAULTS.keys()
