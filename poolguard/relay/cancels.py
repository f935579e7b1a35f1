"""The cancel requests of clients: how many at once, and what each of them ends."""

import asyncio

from poolguard.aio.tasks import TaskOwner
from poolguard.core.errors import Canceled
from poolguard.core.ids import SessionId
from poolguard.relay import hands
from poolguard.relay.session import Session


class Cancels:
    """Each costs a connection to PostgreSQL, and anybody with a session can ask as often as it likes.

    So there are at most so many connections at once, in the order in which they were asked for; and of one session
    one is under way and one behind it, in which all come together that ask while it waits for its turn.
    """

    def __init__(self, tasks: TaskOwner, limit: int) -> None:
        self._tasks = tasks
        self._turns = asyncio.Semaphore(limit)
        self._under_way: dict[SessionId, asyncio.Task[None]] = {}
        self._behind: dict[SessionId, asyncio.Task[None]] = {}

    def limit_to(self, limit: int) -> None:
        """Let so many go at once from now on; those under way don't count."""
        self._turns = asyncio.Semaphore(limit)

    async def ask(self, session: Session) -> None:
        """End what *session* waits for or runs; returns when PostgreSQL has been told, or nothing is to be done."""
        if session.held is not None and session.withdraw():
            session.wait_failed(Canceled("canceling statement due to user request"))
        elif session.server is not None and session.block is None:
            session_id = session.entry.session_id
            task = self._behind.get(session_id)
            if task is None:
                carried_out = self._carry_out(session, session.entry.checkout)
                task = self._tasks.spawn(carried_out, name=f"cancel for session {session_id}")
                self._behind[session_id] = task
            await asyncio.shield(task)  # whoever asked may go: the statement ends all the same

    async def _carry_out(self, session: Session, checkout: int) -> None:
        session_id = session.entry.session_id
        mine = self._behind[session_id]
        try:
            if (before := self._under_way.get(session_id)) is not None:
                await asyncio.wait({before})
            async with self._turns:
                del self._behind[session_id]  # who asks from now on may mean a later statement
                self._under_way[session_id] = mine
                await hands.cancel(session, checkout)
        finally:
            for tasks in (self._under_way, self._behind):
                if tasks.get(session_id) is mine:
                    del tasks[session_id]
