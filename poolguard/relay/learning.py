"""A session's search_path where PostgreSQL does not report it, before version 18: learnt from the client's own SET.

A SET that is alone, outside of a transaction, and says nothing but names is as good as a report once it has succeeded:
it becomes one of the session's parameters, and each server that it is given is told the same, word by word. So does a
RESET that takes it back. Until PostgreSQL has answered the server is kept, as by a pin that is not counted; what could
still be undone, or is mixed with other things, pins as ever. From then on the truth is in that server, until a SET or
RESET that is alone says it anew.

Statements that the client has prepared by name were told their columns under the old search_path: with any of them a
SET pins, whatever PostgreSQL reports.
"""

from typing import Final

from poolguard.core.errors import NotSupported
from poolguard.relay.client_pipe import STATEMENT_BYTES
from poolguard.relay.following import Following
from poolguard.relay.parameters import PATH, SAID
from poolguard.relay.pipe import IDLE, SWALLOW
from poolguard.relay.replies import Reply
from poolguard.relay.server import Server
from poolguard.settings.model import OnSessionState, PoolMode
from poolguard.wire import messages
from poolguard.wire.text import Pin, Verdict

_FEW: Final = 8
"""So many of a client's statements are looked at: one that has more has prepared others than SETs."""
_PATH_ONLY: Final = frozenset((Pin.PATH,))


class Learning(Following):
    """The part of a session that knows where its names are looked up."""

    __slots__ = ()

    def moves_path(self, verdict: Verdict, server: Server, text: bytes, *, alone: bool) -> Reply | None:
        """A statement, *text*, is about to be executed that may change search_path: see to it that this isn't lost.

        *alone*: nothing else belongs to its Query or batch. Returns the reply of what must fail in its place, if the
        pool refuses what would pin.
        """
        sets = Pin.PATH in verdict.pins
        if not sets and not (verdict.resets_path and (Pin.PATH in self.pins or self._has_learnt(server))):
            return None
        if sets and PATH in server.link.parameters and not self._has_prepared():
            return None  # it is reported, also when it is undone
        if alone and verdict.path is not None and self._nothing_is_open(server):
            if not verdict.path:
                self._learns(None)
                return None
            if self.pins <= _PATH_ONLY and self.pool.settings.mode is PoolMode.TRANSACTION and not self._has_prepared():
                self._learns(SAID + verdict.path)
                return None
        refused = self.refuses(Pin.PATH)
        if refused is None:
            self.entry.remember_set(text[:STATEMENT_BYTES])
            self.leaves(_PATH_ONLY, server)
        return refused

    def _has_learnt(self, server: Server) -> bool:
        """Whether its search_path is another than at its login, which PostgreSQL will not say of itself."""
        return PATH not in server.link.parameters and self.wanted.get(PATH) != self.at_login.get(PATH)

    def _has_prepared(self) -> bool:
        statements = self.statements
        return len(statements) > _FEW or any(one.text[:3].lower() != b"set" for one in statements.values())

    def _nothing_is_open(self, server: Server) -> bool:
        """Whether what is sent now is committed at once, if it succeeds."""
        idle = server.status == IDLE and not (self.began or self.unsynced or self.copying or server.skipping)
        return idle and all(owed is SWALLOW for owed in server.replies)

    def _learns(self, value: str | None) -> None:
        """Its search_path is *value* as soon as PostgreSQL has answered; None: as at its login."""
        self.learning = value or ""
        self.freeing = _PATH_ONLY
        self.pins.add(Pin.PATH)
        if not self.pin:
            self.pin = self.entry.pin = Pin.PATH.value
            self.pool.pinned += 1

    def learnt(self, server: Server) -> None:
        """PostgreSQL has answered, and without an error: what was to be learnt, or to a RESET ALL or DISCARD ALL."""
        value, self.learning = self.learning, None
        if PATH in server.link.parameters:
            return
        self.undo = (0, self.wanted)  # committed: no ROLLBACK takes it back
        known = server.applied is not None
        self.wants(self.wanted.changed(PATH, value) if value else self.wanted.like(self.at_login, PATH))
        if known:
            server.applied = self.wanted

    def unlearnt(self) -> None:
        """There was an error, or something pins beside it: what its search_path is only that server knows."""
        self.learning = None
        self.counters.pins_total[self.pool.name, Pin.PATH.name.lower()] += 1

    def refuses(self, pin: Pin) -> Reply | None:
        """The reply of what must fail in the place of what leaves *pin*, if the pool's setting wants that."""
        settings = self.pool.settings
        if settings.on_session_state is not OnSessionState.REJECT or settings.mode is PoolMode.SESSION:
            return None
        error = NotSupported(
            f"{pin.value} needs a session that keeps its server, which pool {self.pool.name!r} refuses",
            hint="Do without it, connect to a pool of mode session, or set this pool's on_session_state to pin.",
        )
        return Reply(error=messages.error_of(error))
