"""All visits to the console, as a service."""

from typing import Final

from poolguard.aio.tasks import TaskOwner
from poolguard.console.answers import Answers
from poolguard.console.sources import ConsoleSources
from poolguard.console.visit import Visit
from poolguard.core.errors import ShuttingDown, TooManyClients
from poolguard.relay.visitors import Visitor
from poolguard.settings.check import CONSOLE
from poolguard.wire.startup import Startup

MOST_VISITS: Final = 16
"""At once. They are not counted in limits.max_clients, so that the console answers when that is reached."""


class Console:
    """The relay's `Console`; a Service (`aio.service`)."""

    name: Final = "console"

    def __init__(self, sources: ConsoleSources, tasks: TaskOwner) -> None:
        self._sources = sources
        self._tasks = tasks
        self._visits: dict[Visit, None] = {}

    # Service

    async def start(self) -> None:
        """The relay listens for it."""

    async def drain(self, deadline: float) -> None:
        """Those who watch how poolguard stops may go on; the relay lets nobody new in."""
        del deadline

    async def stop(self) -> None:
        """End all visits."""
        for visit in list(self._visits):
            visit.end(ShuttingDown("terminating connection: poolguard is stopping"))
        await self._tasks.close()

    # What the relay calls.

    def wanted(self, asked: Startup) -> bool:
        """See relay.visitors.Console. A replication connection never is a visitor."""
        return asked.database == CONSOLE and not asked.replication

    def visit(self, visitor: Visitor) -> None:
        """See relay.visitors.Console."""
        if visitor.transport.is_closing():
            return
        if len(self._visits) >= MOST_VISITS:
            # A console that somebody forgot must not keep out whoever needs it now.
            longest = min(self._visits, key=lambda visit: visit.heard_at)
            self._visits.pop(longest)
            longest.end(TooManyClients(f"more than {MOST_VISITS} consoles: the one that was silent longest must go"))
        answers = Answers(self._sources, visitor.asked, visitor.address)
        visit = Visit(visitor, answers.perform, clock=self._sources.clock, on_gone=self._gone)
        self._visits[visit] = None
        self._tasks.spawn(visit.run(), name="talk to a console")

    def _gone(self, visit: Visit) -> None:
        self._visits.pop(visit, None)
