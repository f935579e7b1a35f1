"""What a sweep does for each transaction, counted: most find nothing to do, and then it must do next to nothing."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Final

from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import Phase
from poolguard.ledger.facts import Transaction
from poolguard.settings.load import parse
from poolguard.settings.policies import Policy, default_policies
from poolguard.wire.fingerprint import _fingerprint
from tests.unit.guard.builders import NOW, Scene, idle

MOST_CALLS: Final = 8
"""Of Python functions, for a transaction that is too young for every rule."""
READERS: Final = """
policies:
  app:
    rules:
      - {name: jobs, when: {statement: "select .* from jobs"}, then: {warn: 5s}}
      - {name: route, when: {state: active, tags: {route: "/x*"}}, then: {warn: 5s}}
      - {name: writers, when: {wrote: true}, then: {warn: 5s}}
"""


def readers() -> Policy:
    """Rules that ask what statements say."""
    return parse(READERS, "poolguard.yaml", {}).settings.policies["app"]


def busy(number: int, seconds: float) -> Ledger:
    """So many transactions that have run for so long, each with statements of its own."""
    ledger = Ledger()
    for place in range(number):
        entry = ledger.open_session(client_address="127.0.0.1:40000", now=0.0)
        entry.pool, entry.phase, entry.checkout = "app", Phase.ACTIVE, 1
        entry.held_since = entry.began_at = entry.phase_since = entry.statement_since = NOW - seconds
        entry.statement = f"update account_{number}_{place}_{seconds} set n = 1 where id = 2".encode()
        entry.statements = 1
        ledger.holders[entry.session_id] = entry
    return ledger


async def counted(scene: Scene, look: Callable[[float], list[Transaction]]) -> int:
    """How many Python functions one sweep calls."""
    scene.look = look
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        await scene.guard.sweep(NOW)
    finally:
        sys.setprofile(None)
    return calls


async def test_a_transaction_that_is_too_young_for_every_rule_costs_a_few_calls() -> None:
    for policy in (default_policies()["app"], readers()):
        scene = Scene(policy)
        few, many = [await counted(scene, busy(number, 0.02).transactions) for number in (40, 80)]
        assert many - few <= 40 * MOST_CALLS, "for each of the forty more"
        assert few <= 40 * MOST_CALLS + 60, "and once a sweep"


async def test_statements_of_a_transaction_that_will_soon_be_over_are_not_read() -> None:
    """Even where a rule asks for them: to read one costs more than all the rest of its judgement."""
    scene = Scene(readers())
    before = _fingerprint.cache_info().misses
    await counted(scene, busy(40, 0.09).transactions)
    assert _fingerprint.cache_info().misses == before
    await counted(scene, busy(40, 0.11).transactions)
    assert _fingerprint.cache_info().misses == before + 40


async def test_a_transaction_that_says_nothing_more_is_read_once() -> None:
    scene = Scene(readers())
    silent = idle(1.0)
    await scene.sweep(silent)
    before = _fingerprint.cache_info()
    for _ in range(50):
        await scene.sweep(silent)
    assert _fingerprint.cache_info() == before
