"""What a server expects of whoever it talks to."""

from typing import Protocol

from poolguard.core.errors import PoolguardError


class Guest(Protocol):
    """Whoever a server talks to at the moment: a session, or one of poolguard's own."""

    def deliver(self, data: bytes) -> None:
        """Bytes for the client, in order."""
        ...

    def settled(self, status: int, now: float) -> None:
        """Everything owed has come; *status* is the last ReadyForQuery's."""
        ...

    def copy_in_started(self, *, ended: bool, synced: bool, postponed: bool) -> None:
        """PostgreSQL wants COPY data. *ended*, *synced*, *postponed*: see copying.InCopy."""
        ...

    def tangled(self) -> None:
        """It isn't known how many ReadyForQuerys will come: the server must stay with this guest."""
        ...

    def synced(self) -> None:
        """A ReadyForQuery came for a Sync that was thought to be ignored: nothing before it is owed a Sync any more."""
        ...

    def erred(self, fields: dict[str, str]) -> None:
        """An ErrorResponse came, with these fields: if it was in COPY, that is over."""
        ...

    def parameter_changed(self, name: str, value: str) -> bytes | None:
        """A ParameterStatus came that is the client's doing; what it is told instead, or None for that itself."""
        ...

    def parameter_given(self, name: str, value: str) -> None:
        """A ParameterStatus came that is poolguard's doing."""
        ...

    def swallowed(self, tag: bytes) -> None:
        """A query of poolguard's own, behind which a RESETTING stands, is complete; *tag* of its CommandComplete."""
        ...

    def reset_over(self, status: int) -> None:
        """What a RESETTING stood behind is done, and the client has not been told that by ReadyForQuery."""
        ...

    def name_of(self, ours: bytes) -> bytes:
        """The guest's own name for the statement that is called *ours* on servers."""
        ...

    def plan_changed(self) -> None:
        """A statement of the guest's can't be run any more, because its result would be of another type."""
        ...

    def transaction_over(self) -> None:
        """ReadyForQuery said `I`, and more is owed: what follows is another transaction."""
        ...

    def server_lost(self, error: PoolguardError | None) -> None:
        """The connection has ended. None: PostgreSQL's own last words were delivered already."""
        ...

    def server_congested(self, *, congested: bool) -> None:
        """PostgreSQL does not read (or reads again): stop (or go on) reading what is bound for it."""
        ...
