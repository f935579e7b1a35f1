"""When a session is at rest, and what has waited for that."""

from poolguard.core.errors import ShuttingDown
from poolguard.relay.block import BlockKind
from poolguard.relay.pipe import IDLE
from poolguard.relay.server import Server
from poolguard.relay.state import CLIENT_FULL
from poolguard.relay.waiting import Waiting


class Rest(Waiting):
    """The part of a session that knows when it holds and wants nothing."""

    __slots__ = ()

    def drain(self, why: ShuttingDown) -> None:
        """End the session with *why* as soon as it has nothing to finish. A transaction that was ended has nothing."""
        self.draining = why
        self.afterwards = True
        self.come_to_rest()

    def come_to_rest(self) -> None:
        """Do what had to wait until the session holds and wants nothing: tell it notifications, or end it."""
        begun = self.block is not None and self.block.kind is BlockKind.DEFERRED
        if self.held is not None or begun or not (self.server is None or self._rests(self.server)):
            return
        self.afterwards = self.draining is not None
        if self.restructured:
            # Again: meanwhile others may have prepared what did not see it yet, or does although it was undone.
            self.restructured = False
            self.around.on_restructured()
        if self.began or self.spoilt:
            self.counters.tally.at_rest(self, self.entry.phase_since)
        if self.subscriber is not None:
            self.subscriber.rest()
        if self.draining is not None:
            self.fatal(self.draining)

    @property
    def can_be_told(self) -> bool:
        """Whether a notification may be sent now: to a client that reads, outside of any transaction."""
        if self.closed or self.congested & CLIENT_FULL or self.block is not None or self.held is not None:
            return False
        return self.server is None or (bool(self.pin) and self._rests(self.server))

    def _rests(self, server: Server) -> bool:
        """Whether *server* is held for the sake of a pin alone."""
        return server.status == IDLE and not server.replies and not self.unsynced and not self.copying

    def listen_again(self, heard: bool) -> None:
        """The listening server hears what is to be listened to (or can't): take the LISTEN up again."""
        self.listens_itself = self.listens_itself or not heard
        self.go_on()
