"""Which Syncs PostgreSQL ignores while it takes in COPY data."""

import pytest

from poolguard.relay.copying import in_copy
from poolguard.relay.pipe import BATCH, COPY_DATA, COPY_END, PASS, RESETTING, SIMPLE, SYNC
from poolguard.relay.replies import Reply

LOCAL = Reply(local=b"3\0\0\0\4")


@pytest.mark.parametrize(
    ("replies", "owed", "ended", "synced", "doubtful"),
    [
        ([SIMPLE], [SIMPLE], False, True, False),
        ([SIMPLE, COPY_END, SIMPLE], [SIMPLE, SIMPLE], True, True, False),
        ([SIMPLE, SYNC, COPY_END, SYNC], [SIMPLE, SYNC], True, True, False),
        ([SIMPLE, COPY_DATA, SYNC, COPY_END, SYNC], [SIMPLE, SYNC], True, True, True),
        ([SIMPLE, SYNC, COPY_DATA, SYNC, SYNC], [SIMPLE], False, True, True),
        ([BATCH], [PASS], False, False, False),
        ([PASS, SYNC], [PASS], False, False, False),
        ([BATCH, COPY_END, SYNC], [PASS, SYNC], True, True, False),
        ([BATCH, SYNC, COPY_END, SYNC], [PASS, SYNC], True, True, False),
        ([BATCH, COPY_DATA, SYNC, COPY_END, SYNC], [PASS, SYNC], True, True, True),
        ([PASS, COPY_DATA, SYNC, COPY_END, SYNC], [PASS, SYNC], True, True, True),
        ([PASS, COPY_DATA, COPY_END, PASS, COPY_DATA, SYNC], [PASS, PASS, COPY_DATA, SYNC], True, True, False),
        ([PASS, LOCAL, SYNC, COPY_END, BATCH], [PASS, LOCAL, BATCH], True, True, False),
        ([BATCH, COPY_END, SIMPLE], [PASS, SIMPLE], True, True, False),
        ([], [], False, True, False),
    ],
)
def test_a_sync_before_the_end_of_the_data_is_not_answered(
    replies: list[int | Reply], owed: list[int | Reply], ended: bool, synced: bool, doubtful: bool
) -> None:
    """C1, C3: one that no data stand before is sure to be ignored; bad data may make it answer the others."""
    assert in_copy(replies) == (owed, ended, synced, doubtful, False)


def test_a_message_that_has_no_place_in_copy_ends_it_and_the_sync_behind_it_is_answered() -> None:
    """C3."""
    assert in_copy([BATCH, SIMPLE, PASS, SYNC]) == ([PASS, SIMPLE, PASS, SYNC], False, True, False, False)


@pytest.mark.parametrize(
    ("replies", "owed", "postponed"),
    [
        ([PASS, SYNC, RESETTING], [PASS], True),
        ([PASS, COPY_DATA, COPY_END, SYNC, RESETTING], [PASS, SYNC, RESETTING], False),
        ([SIMPLE, RESETTING], [SIMPLE, RESETTING], False),
    ],
)
def test_what_stands_behind_an_ignored_sync_is_postponed_with_it(
    replies: list[int | Reply], owed: list[int | Reply], postponed: bool
) -> None:
    """T8, C1."""
    copy = in_copy(replies)
    assert (copy.owed, copy.postponed) == (owed, postponed)
