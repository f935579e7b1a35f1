"""Which Syncs PostgreSQL ignores while it takes in COPY data."""

import pytest

from poolguard.relay.copying import in_copy
from poolguard.relay.pipe import BATCH, COPY_END, PASS, SIMPLE, SYNC
from poolguard.relay.replies import Reply

LOCAL = Reply(local=b"3\0\0\0\4")


@pytest.mark.parametrize(
    ("replies", "owed", "ended", "synced", "doubtful"),
    [
        ([SIMPLE], [SIMPLE], False, True, 0),
        ([SIMPLE, COPY_END, SIMPLE], [SIMPLE, SIMPLE], True, True, 0),
        ([SIMPLE, SYNC, COPY_END, SYNC], [SIMPLE, SYNC], True, True, 1),
        ([SIMPLE, SYNC, SYNC], [SIMPLE], False, True, 2),
        ([BATCH], [PASS], False, False, 0),
        ([PASS, SYNC], [PASS], False, False, 0),
        ([BATCH, COPY_END, SYNC], [PASS, SYNC], True, True, 0),
        ([BATCH, SYNC, COPY_END, SYNC], [PASS, SYNC], True, True, 1),
        ([PASS, LOCAL, SYNC, COPY_END, BATCH], [PASS, LOCAL, BATCH], True, True, 0),
        ([BATCH, COPY_END, SIMPLE], [PASS, SIMPLE], True, True, 0),
        ([], [], False, True, 0),
    ],
)
def test_a_sync_before_the_end_of_the_data_is_not_answered(
    replies: list[int | Reply], owed: list[int | Reply], ended: bool, synced: bool, doubtful: int
) -> None:
    """C1: only the first behind an Execute is sure to be ignored; of the others bad data may make it answer."""
    assert in_copy(replies) == (owed, ended, synced, doubtful)


def test_a_message_that_has_no_place_in_copy_ends_it_and_the_sync_behind_it_is_answered() -> None:
    """C3."""
    assert in_copy([BATCH, SIMPLE, PASS, SYNC]) == ([PASS, SIMPLE, PASS, SYNC], False, True, 0)
