"""How whoever judges a transaction acts on it: the relay implements this, the daemon hands it to the guard.

An action names the checkout, not the connection: when that checkout has ended meanwhile, nothing is done and the
answer is VICTIM_MOVED.
"""

from enum import StrEnum
from typing import NamedTuple, Protocol

from poolguard.core.errors import PoolguardError
from poolguard.core.ids import TransactionId


class Outcome(StrEnum):
    """What became of an action."""

    DONE = "done"
    VICTIM_MOVED = "victim_moved"
    """That checkout was over, or no longer in a state in which the action makes sense."""
    REFUSED = "refused"
    """The action can't be done to a transaction in this phase (rollback while a statement runs)."""
    FAILED = "failed"
    NO_PRIVILEGE = "no_privilege"
    """PostgreSQL does not let our role see or end it: only of backends that are not ours."""


class Still(NamedTuple):
    """What must still be so when an action is done: else it would hit something that nobody judged."""

    began_at: float | None = None
    """The transaction of the checkout began then (monotonic); None: any."""
    statements: int | None = None
    """So many statements have come in the checkout; None: any number."""

    def holds(self, began_at: float, statements: int) -> bool:
        """Compare with how it is now."""
        # Ages were computed from the very same number: no rounding but that of a subtraction.
        same = self.began_at is None or abs(began_at - self.began_at) < SAME_MOMENT_SECONDS
        return same and self.statements in {None, statements}


SAME_MOMENT_SECONDS = 0.001
"""Starts are computed back from ages: closer than this they are the same start."""

ANYHOW = Still()


class Hands(Protocol):
    """Cancel, roll back or terminate one checkout. VICTIM_MOVED unless *still* holds."""

    async def cancel(self, transaction: TransactionId, still: Still = ANYHOW) -> Outcome:
        """End the running statement (CancelRequest). Returns when the cancel connection has closed.

        The client's next message waits for that: a cancel that comes late hits nothing.
        """
        ...

    async def rollback(self, transaction: TransactionId, error: PoolguardError, still: Still = ANYHOW) -> Outcome:
        """End the transaction and keep the session; *error* answers the client's next message.

        REFUSED unless the server stands at ReadyForQuery `T` or `E` with nothing in flight. Returns when the
        server is back in its pool, clean.
        """
        ...

    async def terminate(self, transaction: TransactionId, error: PoolguardError, still: Still = ANYHOW) -> Outcome:
        """Cancel what runs, close the server, send *error* to the client as FATAL and close it."""
        ...
