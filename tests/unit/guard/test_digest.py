"""A storm of the same is one message, and the next one says how many there were."""

from dataclasses import replace

from poolguard.guard.digest import MOST_KINDS, Digest
from poolguard.guard.incidents import EndedTerm
from tests.unit.guard.test_incidents import INCIDENT


def test_one_like_it_is_only_counted_until_its_time_is_over() -> None:
    digest = Digest()
    told = [digest.take(replace(INCIDENT, id=str(at)), float(at), 60.0) for at in (0, 1, 59, 60, 61)]
    assert told == [0, None, None, 2, None]


def test_another_rule_or_outcome_is_another_kind() -> None:
    digest = Digest()
    for other in (INCIDENT, replace(INCIDENT, rule="other"), replace(INCIDENT, pool="jobs")):
        assert digest.take(other, 0.0, 60.0) == 0


def test_each_lease_that_is_released_by_force_is_told() -> None:
    digest, ended = Digest(), [EndedTerm(lease=name, holder="a", token=1, ran_on_seconds=0.0) for name in "ab"]
    assert [digest.take(replace(INCIDENT, term=term), 0.0, 60.0) for term in ended] == [0, 0]


def test_without_a_pause_each_is_told() -> None:
    digest = Digest()
    assert [digest.take(INCIDENT, 5.0, 0.0) for _ in range(3)] == [0, 0, 0]


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    digest = Digest()
    for number in range(MOST_KINDS + 1):
        digest.take(replace(INCIDENT, rule=f"r{number}"), float(number), 1e9)
    assert len(digest) == MOST_KINDS
    assert digest.take(replace(INCIDENT, rule="r0"), 1e6, 1e9) == 0
    assert digest.take(replace(INCIDENT, rule=f"r{MOST_KINDS}"), 1e6, 1e9) is None
