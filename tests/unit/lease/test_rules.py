"""What is done with a wish, for every state that a lease can be in."""

import pytest

from poolguard.lease.rules import Decision, Grace, Held, Replay, Spent, Take, judge
from poolguard.lease.terms import Row
from tests.support.leases import row, wish


@pytest.mark.parametrize(
    ("found", "earlier", "decision"),
    [
        (None, None, Take()),
        (None, 7, Spent()),
        (row(holder=None, request_id=None, token=0, timeline=0, valid_for_seconds=-1e9), None, Take()),
        # The same wish again
        (row(request_id="r1"), None, Replay()),
        (row(request_id="r1"), 7, Replay()),
        (row(request_id="r1", valid_for_seconds=0.0), None, Spent()),
        (row(request_id="r1", holder=None), None, Spent()),
        (row(request_id="r2", holder=None), 7, Spent()),
        (row(request_id="r2", valid_for_seconds=-1.0), 7, Spent()),
        # Somebody else's
        (row(request_id="r2"), None, Held()),
        (row(request_id="r1", holder="pod-2"), None, Held()),
        (row(request_id="r1", holder="pod-2", valid_for_seconds=-1.0), None, Take()),
        (row(request_id="r2", valid_for_seconds=0.0), None, Take()),
        (row(request_id="r2", holder=None), None, Take()),
        # On timeline 2
        (row(request_id="r2", valid_for_seconds=-1.0, timeline=0), None, Take()),
        (row(request_id="r2", valid_for_seconds=-1.0, timeline=2), None, Take()),
        (row(request_id="r2", valid_for_seconds=-1.0, timeline=3), None, Take()),
    ],
)
def test_judge(found: Row | None, earlier: int | None, decision: Decision) -> None:
    timeline = 2 if found is not None and found.timeline != 1 else 1
    assert judge(found, wish(), timeline=timeline, earlier_token=earlier) == decision


@pytest.mark.parametrize(
    ("found", "decision"),
    [
        (row(request_id="r2", valid_for_seconds=-1.0), Grace()),
        (row(request_id="r2"), Held()),
        (row(request_id="r2", holder=None), Take()),
        (row(request_id="r1"), Replay()),
    ],
)
def test_after_a_failover_a_term_that_looks_over_gets_its_time_again(found: Row, decision: Decision) -> None:
    assert judge(found, wish(), timeline=2) == decision


def test_unreadable_timeline_never_looks_like_a_failover() -> None:
    assert judge(row(request_id="r2", valid_for_seconds=-1.0), wish(), timeline=0) == Take()
