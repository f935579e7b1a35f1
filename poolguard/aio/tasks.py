"""Tasks with an owner: nothing runs that nobody waits for."""

import asyncio
from collections.abc import Callable, Coroutine


class TaskOwner:
    """Holds tasks until they end; a failure is reported at once, close() leaves none behind."""

    def __init__(self, on_failure: Callable[[str, BaseException], None]) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_failure = on_failure

    def spawn(self, coroutine: Coroutine[object, object, None], *, name: str) -> asyncio.Task[None]:
        """Run *coroutine* as a task that this owner ends at the latest in close()."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(task.get_name(), error)

    def branch(self) -> "TaskOwner":
        """Another owner that reports failures to the same."""
        return TaskOwner(self._on_failure)

    async def finish(self, seconds: float) -> bool:
        """Wait until all have ended by themselves, for at most *seconds*; whether they have."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._tasks and (left := deadline - loop.time()) > 0:
            await asyncio.wait(list(self._tasks), timeout=left)
        return not self._tasks

    async def close(self) -> None:
        """Cancel what still runs and wait until it has ended, with whatever it spawned while ending."""
        while self._tasks:
            running = list(self._tasks)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self._tasks.difference_update(running)
