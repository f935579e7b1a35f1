"""What makes a server clean for the next client: statements to run, or that it must be closed. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ROLLBACK: Final = "ROLLBACK"
DISCARD_ALL: Final = "DISCARD ALL"


class Status(StrEnum):
    """The status byte of the last ReadyForQuery."""

    IDLE = "I"
    IN_TRANSACTION = "T"
    FAILED = "E"


class Unclean(StrEnum):
    """Why a server can't be made clean."""

    BUSY = "something is still running on it, or a message was left half sent"
    ADVISORY_LOCK = "its client vanished with a session advisory lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """How a client leaves a server behind."""

    status: Status
    busy: bool = False
    """An answer is still owed, a COPY is open, or a client's message went out only in part."""
    session_state: bool = False
    """Something outlives the transaction: SET of what is not tracked, LISTEN, temporary table, WITH HOLD,
    PREPARE in SQL; or the server was a session's alone (mode session), so that nobody looked."""
    advisory_lock: bool = False
    """A session advisory lock may be held."""
    client_vanished: bool = False
    """The client did not say goodbye: it may still believe that it holds what it locked."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Run these, one Query each and each to its ReadyForQuery `I`; anything else: close."""

    statements: tuple[str, ...] = ()

    @property
    def forgets_statements(self) -> bool:
        """True if the server's prepared statements are gone afterwards."""
        return DISCARD_ALL in self.statements


@dataclass(frozen=True, slots=True)
class CloseIt:
    """Close the server."""

    reason: Unclean


def plan_reset(used: Used) -> Reset | CloseIt:
    """Say how to make a server clean.

    DISCARD ALL can't run in a transaction, nor together with another statement in one Query (PostgreSQL docs,
    DISCARD): hence a list, run one by one. It puts parameters back to what the startup packet said, drops temporary
    tables, prepared statements, cursors and LISTENs, and gives session advisory locks back.

    A session advisory lock of a client that vanished is another matter: as long as the client believes in it, its
    end should be as visible as PostgreSQL makes it, by the end of the backend.
    """
    if used.busy:
        return CloseIt(Unclean.BUSY)
    if used.advisory_lock and used.client_vanished:
        return CloseIt(Unclean.ADVISORY_LOCK)
    rollback = () if used.status is Status.IDLE else (ROLLBACK,)
    dirty = used.session_state or used.advisory_lock
    return Reset((*rollback, DISCARD_ALL) if dirty else rollback)
