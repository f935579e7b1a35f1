"""How whoever judges a transaction acts on it: the relay implements this, the daemon hands it to the guard.

An action names the checkout, not the connection: when that checkout has ended meanwhile, nothing is done and the
answer is VICTIM_MOVED.
"""

from enum import StrEnum
from typing import Protocol

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


class Hands(Protocol):
    """Cancel, roll back or terminate one checkout."""

    async def cancel(self, transaction: TransactionId) -> Outcome:
        """End the running statement (CancelRequest). Returns when the cancel connection has closed."""
        ...

    async def rollback(self, transaction: TransactionId, error: PoolguardError) -> Outcome:
        """End the transaction and keep the session; *error* answers the client's next message.

        REFUSED unless the server stands at ReadyForQuery `T` or `E` with nothing in flight. Returns when the
        server is back in its pool, clean.
        """
        ...

    async def terminate(self, transaction: TransactionId, error: PoolguardError) -> Outcome:
        """Cancel what runs, close the server, send *error* to the client as FATAL and close it."""
        ...
