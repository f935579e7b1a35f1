"""The contract by which the daemon starts and ends its parts."""

from typing import Protocol


class Service(Protocol):
    """A part that runs. The daemon calls start once, then drain at most once, then stop once.

    A start that raises has cleaned up after itself. stop may be called without drain, twice does no harm.
    """

    @property
    def name(self) -> str:
        """Plain and unique; it names the part in logs and tasks."""
        ...

    async def start(self) -> None:
        """Return when the part is ready to serve."""
        ...

    async def drain(self, deadline: float) -> None:
        """Take nothing new, let what runs finish; return when it has, or at *deadline* (monotonic)."""
        ...

    async def stop(self) -> None:
        """End now. No task, socket or timer of the part is left when this returns."""
        ...
