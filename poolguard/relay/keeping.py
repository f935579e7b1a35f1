"""What a session leaves in its server: noted, so that nothing of it is lost, and nothing leaks to the next client."""

from collections.abc import Collection
from time import monotonic
from typing import Final

from poolguard.relay.client_pipe import STATEMENT_BYTES
from poolguard.relay.learning import Learning
from poolguard.relay.pipe import IDLE, RESETTING, SWALLOW
from poolguard.relay.replies import Reply
from poolguard.relay.server import Server
from poolguard.relay.statements import HOME, Statement, own_context
from poolguard.settings.model import OnSessionState, PoolMode
from poolguard.wire import messages
from poolguard.wire.text import PLAIN, Pin, Verdict

_MAY_LOCK: Final = frozenset((Pin.ADVISORY_LOCK, Pin.UNREAD))
_HARMLESS: Final = frozenset((Pin.SEQUENCE,))
"""What meets nobody else, if it is lost."""
_LEARNT: Final = frozenset((Pin.PATH,))
"""What `moves_path` sees to, when it is executed."""
_SETS: Final = frozenset((Pin.SET, Pin.PATH))
_LOST: Final = 100
_LOCKS_LEFT: Final = messages.query(
    "SELECT 1 FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid() LIMIT 1"
)
"""Asked outside of a transaction, where only those of the session can be left."""
_FORGET_SEQUENCES: Final = messages.query("DISCARD SEQUENCES")


class Keeping(Learning):
    """The part of a session that knows what PostgreSQL keeps for it."""

    __slots__ = ()

    def note(self, sql: bytes) -> None:
        """Write a statement into the ledger."""
        self.entry.runs(sql[:STATEMENT_BYTES], monotonic())

    # Pins.

    def heed(self, verdict: Verdict, server: Server, *, first: bool = False) -> bytes:
        """Keep what a Query leaves behind in its server's session from being lost, or from leaking.

        *first*: it opens a batch, so that something may be sent ahead of it. Returns what must be.
        """
        ahead = self.foresee(verdict, server, first=first)
        self.takes_effect(verdict, server)
        if verdict.resets:
            self.resets_behind(verdict)
        return ahead

    def foresee(self, verdict: Verdict, server: Server, *, first: bool) -> bytes:
        """Pin for what a statement may leave behind when it is executed, but for search_path; see `heed`."""
        pins = verdict.pins - _LEARNT
        if not pins or (verdict.subscribes and self.fans_out):
            return b""
        ahead = b""
        if Pin.SEQUENCE in pins and first and self.stranger and self.entry.statements == 1:
            # Else PostgreSQL would answer with what another client drew; now it answers 55000, or ours.
            server.replies.append(SWALLOW)
            server.unnamed = None
            ahead = _FORGET_SEQUENCES
        if Pin.SET in pins:
            self.entry.remember_set(self.entry.statement)
        self.leaves(pins, server)
        return ahead

    def takes_effect(self, verdict: Verdict, server: Server) -> None:
        """A statement is about to be executed."""
        if verdict.unlocks:
            self.unlocking = True
        if verdict.strays:
            self.strayed = (self.entry.checkout, own_context())
        if verdict.restructures:
            self.around.on_restructured()
            self.restructured = self.afterwards = True
        if verdict.restarts:
            self.entry.began_at = monotonic()
        if verdict.resets:
            server.applied = None

    def discarded(self) -> None:
        """A DISCARD ALL was executed."""
        if self.subscriber is not None:
            self.subscriber.discards = self.afterwards = True

    def forbidden(self, verdict: Verdict) -> Reply | None:
        """The reply of what must fail in a statement's place, if the pool's setting refuses what it leaves behind."""
        if not verdict.pins - _HARMLESS - _LEARNT or (verdict.subscribes and self.fans_out):
            return None
        return self.refuses(verdict.pin)

    def leaves(self, pins: frozenset[Pin], server: Server) -> None:
        """What pins is about to be executed: keep the server, or have it cleaned, as the pool's setting says."""
        settings = self.pool.settings
        if settings.mode is PoolMode.SESSION or settings.on_session_state is OnSessionState.PIN:
            for pin in pins:
                self.pin_for(pin)
        elif pins - _HARMLESS:
            self.ignored = server.forget_statements = True  # the next guest's DISCARD ALL forgets them
            self.advisory_lock = self.advisory_lock or not pins.isdisjoint(_MAY_LOCK)

    def pin_for(self, reason: Pin) -> None:
        """Keep the server beyond the transaction, until *reason* and all others have ended."""
        self.freeing = frozenset()
        if self.learning is not None:
            self.unlearnt()
        self.advisory_lock = self.advisory_lock or reason in _MAY_LOCK
        self.pins.add(reason)
        if not self.pin:
            self.pin = self.entry.pin = reason.value
            self.pool.pinned += 1
            self.counters.pins_total[self.pool.name, reason.name.lower()] += 1

    def frees(self, pins: frozenset[Pin], server: Server) -> None:
        """A Query that ends *pins* is about to be sent; they have ended when it succeeds outside of a transaction."""
        if self.pins and server.status == IDLE and not server.replies and not self.unsynced:
            self.freeing = pins

    def asks_for_locks(self) -> bool:
        """If nothing but locks pins, ask PostgreSQL whether any is left; True if it is asked, and all else waits."""
        if self.held is not None:
            return False  # what it has said meanwhile goes on first
        self.unlocking = False
        server = self.server
        if self.pins != {Pin.ADVISORY_LOCK} or self.pool.settings.mode is PoolMode.SESSION or server is None:
            return False
        self.probe, self.held, self.gate = b"", b"", self.hold
        server.replies += (SWALLOW, RESETTING)
        server.unnamed = None
        server.write(_LOCKS_LEFT)
        return True

    def swallowed(self, tag: bytes) -> None:
        """See pipe.Guest."""
        if self.probe is not None:
            self.probe = tag

    def probed(self, status: int) -> None:
        """PostgreSQL has told whether locks are left."""
        if self.probe == b"SELECT 0":
            self.freeing = frozenset((Pin.ADVISORY_LOCK,))
        self.probe = None
        self.settled(status, monotonic())
        self.go_on()

    def freed(self) -> bool:
        """That Query has succeeded; True if nothing pins any more."""
        self.pins -= self.freeing
        if Pin.PATH in self.freeing and self.server is not None:
            self.learnt(self.server)
        if Pin.LISTEN in self.freeing:
            self.listens_itself = False
        if self.pins.isdisjoint(_SETS):
            self.entry.sets = ()
        self.freeing = frozenset()
        if dict(self.at_login.items).get("standard_conforming_strings") == "off":
            self.pins.add(Pin.STRINGS)
        if self.pool.settings.mode is PoolMode.SESSION:
            return False
        self.advisory_lock = not self.pins.isdisjoint(_MAY_LOCK)
        self.pin = self.entry.pin = next((pin.value for pin in Pin if pin in self.pins), "")
        if not self.pin:
            self.pool.pinned -= 1
            self.strayed = (0, HOME)
        return not self.pin

    def remember(self, name: bytes, verdict: Verdict) -> Reply:
        """What a named statement will mean when it is bound; of the oldest nothing is known any more. Its Parse owes
        what is returned.
        """
        verdicts = self.verdicts
        before = verdicts.pop(name, PLAIN)
        verdicts[name] = verdict
        if len(verdicts) > self.around.limits().statements_per_client:
            del verdicts[next(iter(verdicts))]

        def undone() -> None:
            if verdicts.get(name) is verdict:
                verdicts[name] = before

        return Reply(on_undone=undone)

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
        if ours in self.lost:
            return self.lost.pop(ours)
        return next((name for name, known in reversed(self.statements.items()) if known.name == ours), b"")

    def loses(self, ours: bytes, name: bytes) -> None:
        """An error may name *ours*, which the client calls *name*, or has called so until now."""
        if len(self.lost) >= _LOST:
            self.lost.clear()
        self.lost[ours] = name

    def plan_changed(self) -> None:
        """See pipe.Guest. All that was run without waiting for an answer may be meant.

        Where names mean another thing to this client than when it prepared a statement, that alone may be why: then
        others have nothing to learn from it.
        """
        context = self.context()
        for statement in self.bound:
            if statement.context == context:
                self.catalogue.retire(statement)
        self.renew(self.bound)

    def renew(self, stale: Collection[Statement]) -> None:
        """Have new statements in place of those that are *stale*, under the client's same names."""
        for name, statement in self.statements.items():
            if statement in stale:
                self.statements[name] = self.catalogue.intern(statement.body, self.context())
