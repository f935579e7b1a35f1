"""A session's run-time parameters, followed: what PostgreSQL reports of them, and what a RESET leads back to.

PostgreSQL's RESET leads to the values of the *server's* login. The client's own are set again behind it: by the
extended protocol as part of the same batch; behind a Query by a Query of our own, with the ReadyForQuery kept back
until then. The latter also where a DISCARD ALL in a batch was committed at once, and the rest of the batch undone.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from poolguard.relay.parameters import TRACKED, ParameterSet, Reset, give
from poolguard.relay.pipe import FAILED, IDLE, RESETTING, SWALLOW, SYNC
from poolguard.relay.replies import Reply
from poolguard.relay.state import SessionState
from poolguard.relay.statements import context_of
from poolguard.wire import messages
from poolguard.wire.text import ALL_PARAMETERS, Kind, Pin, Verdict

if TYPE_CHECKING:
    from poolguard.relay.server import Server

_STRINGS: Final = "standard_conforming_strings"


class Following(SessionState):
    """The part of a session that knows its parameters."""

    __slots__ = ()

    def _to_give_again(self, verdict: Verdict) -> dict[str, str]:
        """What the client asked for at its login, of what *verdict* takes back to the server's values."""
        return {
            name: value
            for name, value in self.at_login.items
            if (ALL_PARAMETERS in verdict.resets or name.encode() in verdict.resets)
            and name.encode() not in verdict.spares
        }

    def resets_behind(self, verdict: Verdict) -> None:
        """A Query resets: the client's own values are due when it is answered."""
        if mine := self._to_give_again(verdict):
            self.due = Reset(mine, everything=verdict.resets_all, in_batch=False)

    def resets_here(self, verdict: Verdict, owed: list[int | Reply]) -> bytes:
        """An Execute, the last of *owed*, resets; the SQL to run right behind it."""
        mine = self._to_give_again(verdict) if verdict.resets else {}
        if not mine:
            return b""
        if verdict.kind is Kind.DISCARD_ALL:
            self.due = due = self.due or Reset(mine, everything=True, in_batch=True)
            executed = owed[-1]
            assert type(executed) is Reply, "nobody is told of a DISCARD ALL"
            before = executed.on_done

            def done() -> None:
                due.discarded = True
                if before is not None:
                    before()

            executed.on_done = done
        return give(mine).encode()

    def resets(self, server: "Server") -> bool:
        """A RESET is sent, and its reply noted; True if the client's own values must follow, and all else wait."""
        query = server.replies[-1] if server.replies else SYNC
        if type(query) is Reply:  # an error before it may skip it, and then nothing is over
            query.on_undone = partial(self._reset_skipped, query.on_undone)
        server.replies.append(RESETTING)
        self.resetting, self.due = self.due, None
        return True

    def reset_waits(self, *, postponed: bool) -> None:
        """COPY comes first: its data go on. *postponed*: the Sync behind the RESET was ignored, another will follow."""
        if postponed:
            self.due, self.resetting = self.resetting, None
        # Later: the server's replies are being read at this moment.
        asyncio.get_running_loop().call_soon(self._copy_goes_on)

    def _copy_goes_on(self) -> None:
        if self.copying:
            self.go_on()

    def _reset_skipped(self, also: Callable[[], object] | None) -> None:
        if self.resetting is not None and self.resetting.in_batch:
            self.due = self.resetting  # a DISCARD ALL before it may have been executed
        self.resetting = None
        if also is not None:
            also()
        # Later: the server's replies are being read at this moment.
        asyncio.get_running_loop().call_soon(self.go_on)

    def reset_over(self, status: int) -> None:
        """See pipe.Guest: first of the RESET itself, then of what gave the client its own values again."""
        if self.probe is not None:
            self.probed(status)
            return
        server, reset = self.server, self.resetting
        assert server is not None, "a RESET without a server"
        assert reset is not None, "no RESET is under way"
        usual = {name.lower(): value for name, value in server.link.parameters.items()}
        known = usual | dict(self.wanted.items)
        if status != FAILED and not reset.given and (lost := reset.lost(known, usual)):
            reset.given = lost
            server.replies += (SWALLOW, RESETTING)
            server.unnamed = None
            server.write(messages.query(give(lost)))
            return
        now, self.resetting = monotonic(), None
        self._note_undo()
        for name in reset.given:
            self.wants(self.wanted.like(self.at_login, name))
        for name, value in reset.reported.items():
            self._changed(name, value, usual)
            if (known.get(name.lower()) if name.lower() in TRACKED else reset.stood[name]) != value:
                self.deliver(messages.parameter_status(name, value))
        if reset.given and reset.everything and status == IDLE:
            server.applied = self.wanted
        self.deliver(messages.READY[status])
        self.settled(status, now)
        self.go_on()

    def reset_erred(self) -> None:
        """An error: if it is the RESET's own, or that of a statement beside it, nothing was reset."""
        if self.resetting is not None and self._near_its_end():
            self.resetting.failed = True
            if self.held is None:  # it was in COPY; what follows waits again
                self.held, self.gate = b"", self.hold
        elif self.due is not None and self.due.discarded:
            self.due.failed = True

    def parameter_given(self, name: str, value: str) -> None:
        """See pipe.Guest."""
        if self.resetting is not None and self.server is not None and self._near_its_end():
            self.resetting.report(name, value, self.server.parameters.get(name))

    def _near_its_end(self) -> bool:
        """Whether what PostgreSQL says now belongs to the RESET, and not to what was sent before it."""
        return self.server is not None and len(self.server.replies) > 1 and self.server.replies[1] is RESETTING

    def parameter_changed(self, name: str, value: str) -> bytes | None:
        """The client's own SET (or its undoing) was reported: whoever serves it next must have it too."""
        server = self.server
        assert server is not None, "a parameter changed without a server"
        if self.resetting is not None and self._near_its_end():
            self.resetting.report(name, value, server.parameters.get(name))
            return b""
        if name.lower() not in TRACKED:
            return None
        self._note_undo()
        known = server.applied is not None
        self._changed(name, value, {name.lower(): server.link.parameters.get(name)})
        if known:
            server.applied = self.wanted
        return None

    def _changed(self, name: str, value: str, usual: Mapping[str, str | None]) -> None:
        key = name.lower()
        if value == usual.get(key) and key not in dict(self.at_login.items):
            self.wants(self.wanted.like(self.at_login, name))  # as it was: nothing need be set
        elif key in TRACKED:
            self.wants(self.wanted.changed(name, value))
        if key == "application_name":
            self.entry.application_name = value
        elif key == _STRINGS and value == "off":
            self.pin_for(Pin.STRINGS)

    def wants(self, wanted: ParameterSet) -> None:
        """Its servers must have *wanted* from now on, by which names in its statements have their meaning."""
        self.wanted = wanted
        self.home = context_of(wanted.items)

    def _note_undo(self) -> None:
        if self.undo[0] != self.entry.checkout:
            self.undo = (self.entry.checkout, self.wanted)

    def undo_parameters(self) -> set[str]:
        """The transaction was rolled back: parameters are what they were before it; the names of those."""
        checkout, before = self.undo
        if checkout != self.entry.checkout:
            return set()
        changed = {name for name, _ in set(self.wanted.items) ^ set(before.items)}
        self.wants(before)
        if "application_name" in changed:
            self.entry.application_name = dict(before.items).get("application_name", "")
        return changed
