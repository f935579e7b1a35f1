"""What a session leaves in its server: noted, so that nothing of it is lost, and nothing leaks to the next client."""

from collections.abc import Collection
from time import monotonic
from typing import Final

from poolguard.relay.pipe import FAILED
from poolguard.relay.server import Server
from poolguard.relay.state import SessionState
from poolguard.relay.statements import Statement, own_context
from poolguard.wire.text import Pin, Verdict

_MAY_LOCK: Final = frozenset((Pin.ADVISORY_LOCK, Pin.UNREAD))


class Keeping(SessionState):
    """The part of a session that knows what PostgreSQL keeps for it."""

    __slots__ = ()

    def heed(self, verdict: Verdict, server: Server) -> None:
        """Keep what a statement leaves behind in its server's session from being lost, or from leaking."""
        if verdict.pin:
            self.advisory_lock = self.advisory_lock or not verdict.pins.isdisjoint(_MAY_LOCK)
            if Pin.SET in verdict.pins:
                self.entry.remember_set()
            self._pin(verdict.pin)
        if verdict.strays:
            self.strayed = (self.entry.checkout, own_context())
        if verdict.restarts:
            self.entry.began_at = monotonic()
        if server.status == FAILED:
            return  # PostgreSQL refuses what follows
        if verdict.forgets:
            self.statements.clear()
            server.known.clear()
            server.forget_statements = True
        if verdict.resets:
            server.applied = None
        if verdict.resets_all:
            self.wanted = self.at_login

    def _pin(self, reason: Pin) -> None:
        if not self.pin:
            self.pin = self.entry.pin = reason.value
            self.pool.pinned += 1
            self.counters.pins_total[self.pool.name, reason.name.lower()] += 1

    def pin_for_statement(self) -> None:
        """Names are not mapped in this pool: a named statement keeps its server."""
        self._pin(Pin.PROTOCOL_PREPARE)

    def parameter_changed(self, name: str, value: str) -> None:
        """The client's own SET (or its undoing) was reported: whoever serves it next must have it too."""
        server = self.server
        assert server is not None, "a parameter changed without a server"
        if name == "application_name":
            self.entry.application_name = value
        if self.undo[0] != self.entry.checkout:
            self.undo = (self.entry.checkout, self.wanted)
        if server.applied is not None:
            server.applied = self.wanted = self.wanted.changed(name, value)
        elif value == server.link.parameters.get(name):
            self.wanted = self.wanted.like(self.at_login, name)  # a RESET: to what is for this client the beginning
        else:
            self.wanted = self.wanted.changed(name, value)

    def undo_parameters(self) -> set[str]:
        """The transaction was rolled back: parameters are what they were before it; the names of those."""
        checkout, before = self.undo
        if checkout != self.entry.checkout:
            return set()
        changed = {name for name, _ in set(self.wanted.items) ^ set(before.items)}
        self.wanted = before
        if "application_name" in changed:
            self.entry.application_name = dict(before.items).get("application_name", self.entry.application_name)
        return changed

    def context(self) -> bytes:
        """What names in a statement mean now; see statements.py."""
        checkout, strayed = self.strayed
        return strayed if checkout == self.entry.checkout else self.home

    def name_of(self, ours: bytes) -> bytes:
        """See pipe.Guest. Where two names stand for one statement, the younger."""
        if not self.maps_names:
            return ours
        if ours.startswith(b"?"):
            return ours[1:]
        return next((name for name, known in reversed(self.statements.items()) if known.name == ours), b"")

    def plan_changed(self) -> None:
        """See pipe.Guest. All that was run without waiting for an answer may be meant."""
        for statement in self.bound:
            self.catalogue.retire(statement)
        self.renew(self.bound)

    def renew(self, stale: Collection[Statement]) -> None:
        """Have new statements in place of those that are *stale*, under the client's same names."""
        for name, statement in self.statements.items():
            if statement in stale:
                self.statements[name] = self.catalogue.intern(statement.body, statement.context)
