"""Whom no rule may end."""

from typing import Any

import pytest

from poolguard.guard.foreign.untouchable import POOLGUARDS_OWN, Untouchable, untouchable
from poolguard.guard.locks.observer import APPLICATION_NAME as OBSERVER
from poolguard.lease.connection import APPLICATION_NAME as LEASE
from tests.unit.guard.foreign.builders import psql


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"superuser": True}, Untouchable.SUPERUSER),
        ({"wait_event": "IPC/SyncRep"}, Untouchable.REPLICATION),
        ({"sql": "COMMIT", "state": "active"}, Untouchable.COMMIT),
        ({"sql": "PREPARE TRANSACTION 'x'", "state": "active"}, Untouchable.COMMIT),
        ({"application_name": OBSERVER}, Untouchable.POOLGUARD),
        ({"application_name": LEASE}, Untouchable.POOLGUARD),
        ({}, None),
    ],
)
def test_who_is_left_alone_whatever_a_rule_says(facts: dict[str, Any], why: Untouchable | None) -> None:
    assert untouchable(psql(**facts)) is why


def test_its_own_connections_are_known_by_the_names_that_they_have() -> None:
    assert {OBSERVER, LEASE} == POOLGUARDS_OWN
