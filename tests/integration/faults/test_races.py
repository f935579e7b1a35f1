"""Fault 14: renewals and takeovers in the very moment of expiry. `make lease-soak` does a hundred thousand."""

import random

from tests.soak.races import race
from tests.support.cluster import Database

TRIES = 1000


async def test_fault_14_at_the_moment_of_expiry_one_at_most_succeeds(database: Database) -> None:
    outcomes, broken = await race(database.dsn, TRIES, random.Random(14))
    assert broken == []
    assert outcomes.total() >= TRIES
    assert min(outcomes["Renewed"], outcomes["Granted"]) > 0, f"the race was never close: {outcomes}"
