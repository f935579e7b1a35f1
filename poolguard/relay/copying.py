"""Which of the owed replies never come, because PostgreSQL ignores Sync while it takes in COPY data. Pure.

A client need not wait for CopyInResponse: data, their end and any number of Syncs may have been sent by then. Those
Syncs that stand before the data's end, or before a message that has no place in COPY and so ends it with an error,
are in COPY. PostgreSQL ignores those that stand before all data. Of the others it ignores those that come before the
data's first error, and answers the rest; which those are the client's bytes alone don't tell.
"""

from collections.abc import Sequence
from typing import NamedTuple

from poolguard.relay.pipe import BATCH, COPY_DATA, COPY_END, PASS, RESETTING, SYNC, is_query
from poolguard.relay.replies import Reply


class InCopy(NamedTuple):
    """What is owed by a server that has said CopyInResponse."""

    owed: list[int | Reply]
    """All that PostgreSQL will answer, if the data are good."""
    ended: bool
    """The data's end was sent already."""
    synced: bool
    """A ReadyForQuery will come without another word from the client's side."""
    doubtful: bool
    """It may answer Syncs, if the data are not good."""
    postponed: bool = False
    """A RESETTING stood behind a Sync that is ignored, and is left out of what is owed."""


def in_copy(replies: Sequence[int | Reply]) -> InCopy:
    """What is owed, of *replies*, by a server that wants COPY data for the first of them."""
    if not replies:
        return InCopy([], ended=False, synced=True, doubtful=False)
    head, *rest = replies
    simple = is_query(head)
    owed = [PASS if head is BATCH else head]
    data, doubtful, ignores, ended, postponed = False, False, head is BATCH, False, False
    for place, reply in enumerate(rest):
        if reply is SYNC:
            doubtful |= data
            ignores = True
        elif reply is COPY_DATA:
            data = True
        elif reply is RESETTING and ignores:
            postponed = True
        elif type(reply) is Reply and reply.local:
            owed.append(reply)  # PostgreSQL does not see what it answers
        else:
            ended = reply is COPY_END
            owed += rest[place + ended :]
            break
    synced = simple or any(reply is SYNC or reply is BATCH or is_query(reply) for reply in owed[1:])
    return InCopy(owed, ended, synced, doubtful, postponed)
