"""What a pipelining client's statement names mean, while PostgreSQL has not said yet what became of them.

PostgreSQL skips whatever stands between an error and the next Sync, also the Parse, Close or DEALLOCATE of a name.
A client need not wait for that: behind its Sync it may go on to use the name. What it then means is known only when
the first message has been answered or skipped, so the later one is held back until then. It is held only behind a
Sync that has been sent, whose answer is therefore on its way; within a batch nothing waits, because there the same
error skips both.
"""

import asyncio
from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from poolguard.relay.pipe import BATCH, SYNC, is_query
from poolguard.relay.replies import NotYet, Reply

if TYPE_CHECKING:
    from poolguard.relay.server import Server
    from poolguard.relay.talk import Talk

EVERY_NAME: Final = object()


class Change:
    """One message that changes what *keys* are: names of the client's, or statements of the server's."""

    __slots__ = ("batch", "keys", "session")

    def __init__(self, session: "Talk", keys: tuple[Hashable, ...]) -> None:
        self.session = session
        self.batch = session.batch
        self.keys = keys

    def over(self) -> None:
        """It was answered, or skipped: what the keys are is known again, and who waits for that goes on."""
        session = self.session
        for key in self.keys:
            if session.unsure.get(key) is self:
                del session.unsure[key]
        if session.awaited is self:
            # Later: the server's replies are being read at this moment.
            asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        session = self.session
        if session.awaited is self:
            session.awaited = None
            session.go_on()


class Unsure(NotYet):
    """The message at hand must wait until *change* is over."""

    def __init__(self, change: Change) -> None:
        self.change = change


def changing(session: "Talk", reply: Reply, *keys: Hashable) -> Reply:
    """*reply*, and a note that until it has come the *keys* may be one thing or another."""
    change = Change(session, keys)
    reply.on_over = change.over
    for key in keys:
        session.unsure[key] = change
    return reply


def changing_all(session: "Talk", reply: Reply) -> Reply:
    """The same for every name."""
    return changing(session, reply, EVERY_NAME)


def must_be_sure(session: "Talk", server: "Server", *keys: Hashable) -> None:
    """Raise Unsure if one of *keys* was changed by an earlier batch that has not been answered."""
    for key in (*keys, EVERY_NAME):
        change = session.unsure.get(key)
        if change is not None and change.batch != session.batch and _promised(server):
            raise Unsure(change)


def must_all_be_sure(session: "Talk", server: "Server") -> None:
    """Raise Unsure if anything was changed by an earlier batch that has not been answered."""
    for change in reversed(session.unsure.values()):
        if change.batch != session.batch and _promised(server):
            raise Unsure(change)  # the latest, which is answered last


def _promised(server: "Server") -> bool:
    """Whether PostgreSQL is to say ReadyForQuery without another word from the client: in COPY it ignores Sync."""
    return any(owed is SYNC or owed is BATCH or is_query(owed) for owed in server.replies)
