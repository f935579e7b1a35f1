"""What a session leaves in its server: noted, so that nothing of it is lost, and nothing leaks to the next client."""

from collections.abc import Collection, Mapping
from time import monotonic
from typing import Final

from poolguard.core.errors import NotSupported, PoolguardError
from poolguard.relay.parameters import NONE, TRACKED, parameter_set, switch
from poolguard.relay.pipe import FAILED, IDLE, RESETTING, SWALLOW
from poolguard.relay.replies import Reply
from poolguard.relay.server import Server
from poolguard.relay.state import SessionState
from poolguard.relay.statements import HOME, Statement, own_context
from poolguard.settings.model import OnSessionState, PoolMode
from poolguard.wire import messages
from poolguard.wire.text import ALL_PARAMETERS, Kind, Pin, Verdict

_MAY_LOCK: Final = frozenset((Pin.ADVISORY_LOCK, Pin.UNREAD))
_HARMLESS: Final = frozenset((Pin.SEQUENCE,))
"""What meets nobody else, if it is lost."""
_LOST: Final = 100
_STRINGS: Final = "standard_conforming_strings"
_LOCKS_LEFT: Final = messages.query(
    "SELECT 1 FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid() LIMIT 1"
)
"""Asked outside of a transaction, where only those of the session can be left."""
_FORGET_SEQUENCES: Final = messages.query("DISCARD SEQUENCES")


class Keeping(SessionState):
    """The part of a session that knows what PostgreSQL keeps for it."""

    __slots__ = ()

    # What the session does.

    def settled(self, status: int, now: float) -> None:
        """Everything owed has come."""
        raise NotImplementedError

    def deliver(self, data: bytes) -> None:
        """Send to the client."""
        raise NotImplementedError

    def go_on(self) -> None:
        """Take what the client has said meanwhile."""
        raise NotImplementedError

    def leave(self, *, patience: float = 0.0, vanished: bool = False) -> None:
        """End the session."""
        raise NotImplementedError

    def fatal(self, error: PoolguardError) -> None:
        """Tell the client why, and end the session."""
        raise NotImplementedError

    def come_to_rest(self) -> None:
        """Do what had to wait until the session holds and wants nothing."""
        raise NotImplementedError

    def listen_again(self, heard: bool) -> None:
        """A LISTEN that waited may go on."""
        raise NotImplementedError

    @property
    def can_be_told(self) -> bool:
        """Whether a notification may be sent now."""
        raise NotImplementedError

    def hold(self, data: bytes) -> None:
        """Keep *data* while the session waits."""
        raise NotImplementedError

    def drop(self, data: bytes) -> None:
        """Ignore *data*."""
        raise NotImplementedError

    # Pins.

    def heed(self, verdict: Verdict, server: Server, *, first: bool = False) -> bytes:
        """Keep what a Query leaves behind in its server's session from being lost, or from leaking.

        *first*: it opens a batch, so that something may be sent ahead of it. Returns what must be.
        """
        ahead = self.foresee(verdict, server, first=first)
        if verdict.kind is not Kind.DISCARD_ALL or server.status == IDLE or server.replies:  # else it is refused
            self.takes_effect(verdict, server)
        return ahead

    def foresee(self, verdict: Verdict, server: Server, *, first: bool) -> bytes:
        """Pin for what a statement may leave behind when it is executed; see `heed`."""
        if not verdict.pins or (verdict.subscribes and self.fans_out):
            return b""
        ahead = b""
        if Pin.SEQUENCE in verdict.pins and first and self.stranger and self.entry.statements == 1:
            # Else PostgreSQL would answer with what another client drew; now it answers 55000, or ours.
            server.replies.append(SWALLOW)
            server.unnamed = None
            ahead = _FORGET_SEQUENCES
        if Pin.SET in verdict.pins:
            self.entry.remember_set()
        self._leaves(verdict.pins, server)
        return ahead

    def takes_effect(self, verdict: Verdict, server: Server) -> None:
        """A statement is about to be executed."""
        if verdict.unlocks:
            self.unlocking = True
        if verdict.strays:
            self.strayed = (self.entry.checkout, own_context())
        if verdict.restarts:
            self.entry.began_at = monotonic()
        if verdict.resets:
            server.applied = None
        if server.status == FAILED and not server.replies:
            return  # PostgreSQL refuses what follows
        if verdict.forgets or verdict.resets:
            self._takes_back(verdict, server)

    def _takes_back(self, verdict: Verdict, server: Server) -> None:
        """Statements that are forgotten, parameters that go back to their beginning."""
        if verdict.forgets:
            self._discards(verdict)
            self.statements.clear()
            server.known.clear()
            server.forget_statements = True
        if verdict.resets:
            if self.at_login.items:
                self.restores |= verdict.resets
            elif verdict.resets_all:
                self.wanted = self.at_login

    def _discards(self, verdict: Verdict) -> None:
        if verdict.kind is Kind.DISCARD_ALL and self.subscriber is not None:
            self.subscriber.discards = self.afterwards = True

    def forbidden(self, verdict: Verdict) -> Reply | None:
        """The reply of what must fail in a statement's place, if the pool's setting refuses what it leaves behind."""
        settings = self.pool.settings
        pins = verdict.pins - _HARMLESS
        if verdict.subscribes and self.fans_out:
            return None
        if not pins or settings.on_session_state is not OnSessionState.REJECT or settings.mode is PoolMode.SESSION:
            return None
        error = NotSupported(
            f"{verdict.pin.value} needs a session that keeps its server, which pool {self.pool.name!r} refuses",
            hint="Do without it, connect to a pool of mode session, or set this pool's on_session_state to pin.",
        )
        return Reply(error=messages.error_of(error))

    def _leaves(self, pins: frozenset[Pin], server: Server) -> None:
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

    def _probed(self, status: int) -> None:
        if self.probe == b"SELECT 0":
            self.freeing = frozenset((Pin.ADVISORY_LOCK,))
        self.probe = None
        self.settled(status, monotonic())
        self.go_on()

    def freed(self) -> bool:
        """That Query has succeeded; True if nothing pins any more."""
        self.pins -= self.freeing
        if Pin.SET not in self.pins:
            self.entry.sets = ()
        self.freeing = frozenset()
        if dict(self.at_login.items).get(_STRINGS) == "off":
            self.pins.add(Pin.STRINGS)
        if self.pool.settings.mode is PoolMode.SESSION:
            return False
        self.advisory_lock = not self.pins.isdisjoint(_MAY_LOCK)
        self.pin = self.entry.pin = next((pin.value for pin in Pin if pin in self.pins), "")
        if not self.pin:
            self.pool.pinned -= 1
            self.strayed = (0, HOME)
        return not self.pin

    def remember(self, name: bytes, verdict: Verdict) -> None:
        """What a named statement will mean when it is bound; of the oldest nothing is known any more."""
        self.verdicts[name] = verdict
        if len(self.verdicts) > self.around.limits().statements_per_client:
            del self.verdicts[next(iter(self.verdicts))]

    # Parameters.

    def resets(self, server: Server) -> bool:
        """A RESET is sent, and its reply noted; True if the client's own values must follow, and all else wait."""
        if not self._of_mine():
            self.restores = frozenset()
            return False
        server.replies.append(RESETTING)
        self.resetting, self.reset_failed = {}, False
        return True

    def _of_mine(self) -> dict[str, str]:
        """What the client asked for at its login, of what a RESET takes back to the server's values."""
        names = self.restores
        return {name: value for name, value in self.at_login.items if ALL_PARAMETERS in names or name.encode() in names}

    def reset_over(self, status: int) -> None:
        """See pipe.Guest: first of the RESET itself, then of what gave the client its own values again."""
        if self.probe is not None:
            self._probed(status)
            return
        server = self.server
        assert server is not None, "a RESET without a server"
        assert self.resetting is not None, "no RESET is under way"
        mine, everything = self._of_mine(), ALL_PARAMETERS in self.restores
        self.restores = frozenset()
        # A DISCARD ALL is committed at once: if what follows in its batch fails, PostgreSQL still reports its work.
        if mine and status != FAILED and (self.resetting or not self.reset_failed):
            self.restored = (mine, everything)
            server.replies += (SWALLOW, RESETTING)
            server.unnamed = None
            server.write(messages.query(switch(NONE, parameter_set(mine))))
            return
        now, reported, self.resetting = monotonic(), self.resetting, None
        before = self.wanted
        (mine, everything), self.restored = self.restored, ({}, False)
        self._note_undo()
        if everything:
            self.wanted = self.at_login
        for name in mine:
            self.wanted = self.wanted.like(self.at_login, name)
        usual = {name.lower(): value for name, value in server.link.parameters.items()}
        known = usual | dict(before.items)
        for name, value in reported.items():
            self._changed(name, value, usual)
            if known.get(name.lower()) != value:
                self.deliver(messages.parameter_status(name, value))
        if everything and status == IDLE:
            server.applied = self.wanted
        self.deliver(messages.READY[status])
        self.settled(status, now)
        self.go_on()

    def reset_erred(self) -> None:
        """An error: if it is the RESET's own, or that of a statement beside it, nothing was reset."""
        if self.resetting is not None and self._near_its_end():
            self.reset_failed = True

    def parameter_given(self, name: str, value: str) -> None:
        """See pipe.Guest."""
        if self.resetting is not None and self._near_its_end():
            self.resetting[name] = value

    def _near_its_end(self) -> bool:
        """Whether what PostgreSQL says now belongs to the RESET, and not to what was sent before it."""
        return self.server is not None and len(self.server.replies) > 1 and self.server.replies[1] is RESETTING

    def parameter_changed(self, name: str, value: str) -> bytes | None:
        """The client's own SET (or its undoing) was reported: whoever serves it next must have it too."""
        server = self.server
        assert server is not None, "a parameter changed without a server"
        if self.resetting is not None and self._near_its_end():
            self.resetting[name] = value
            return b""
        self._note_undo()
        known = server.applied is not None
        self._changed(name, value, {name.lower(): server.link.parameters.get(name)})
        if known:
            server.applied = self.wanted
        return None

    def _changed(self, name: str, value: str, usual: Mapping[str, str | None]) -> None:
        key = name.lower()
        if value == usual.get(key) and key not in dict(self.at_login.items):
            self.wanted = self.wanted.like(self.at_login, name)  # as it was: nothing need be set
        elif key in TRACKED:
            self.wanted = self.wanted.changed(name, value)
        if key == "application_name":
            self.entry.application_name = value
        elif key == _STRINGS and value == "off":
            self.pin_for(Pin.STRINGS)

    def _note_undo(self) -> None:
        if self.undo[0] != self.entry.checkout:
            self.undo = (self.entry.checkout, self.wanted)

    def undo_parameters(self) -> set[str]:
        """The transaction was rolled back: parameters are what they were before it; the names of those."""
        checkout, before = self.undo
        if checkout != self.entry.checkout:
            return set()
        changed = {name for name, _ in set(self.wanted.items) ^ set(before.items)}
        self.wanted = before
        if "application_name" in changed:
            self.entry.application_name = dict(before.items).get("application_name", "")
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
        if ours in self.lost:
            return self.lost.pop(ours)
        return next((name for name, known in reversed(self.statements.items()) if known.name == ours), b"")

    def loses(self, ours: bytes, name: bytes) -> None:
        """An error may name *ours*, which the client calls *name*, or has called so until now."""
        if len(self.lost) >= _LOST:
            self.lost.clear()
        self.lost[ours] = name

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
