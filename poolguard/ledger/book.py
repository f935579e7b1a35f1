"""All lines of the ledger, by session and by holder."""

from itertools import count

from poolguard.core.ids import SessionId
from poolguard.ledger.entries import SessionEntry
from poolguard.ledger.facts import SessionFacts, Transaction, session_facts, transaction_facts


class Ledger:
    """Every session, and apart from it those that hold a server."""

    def __init__(self) -> None:
        self.sessions: dict[SessionId, SessionEntry] = {}
        self.holders: dict[SessionId, SessionEntry] = {}
        """The relay adds and removes an entry with each checkout."""
        self._numbers = count(1)

    def open_session(self, *, client_address: str, now: float) -> SessionEntry:
        """Start a line for a client that has just connected."""
        entry = SessionEntry(SessionId(next(self._numbers)), client_address=client_address, connected_at=now)
        self.sessions[entry.session_id] = entry
        return entry

    def close_session(self, entry: SessionEntry) -> None:
        """Strike a session that is gone. It must hold nothing any more."""
        assert entry.session_id not in self.holders, f"session {entry.session_id} left while holding a server"
        del self.sessions[entry.session_id]

    def transactions(self, now: float, *, pool: str | None = None) -> list[Transaction]:
        """Everything that holds a server, of *pool* or of all, oldest checkout first."""
        found = [entry for entry in self.holders.values() if pool is None or entry.pool == pool]
        found.sort(key=lambda entry: entry.held_since)
        return [transaction_facts(entry, now) for entry in found]

    def facts(self, now: float) -> list[SessionFacts]:
        """Every session, oldest first."""
        return [
            session_facts(entry, now, holds=session_id in self.holders) for session_id, entry in self.sessions.items()
        ]
