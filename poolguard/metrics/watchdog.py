"""Finds what blocks the event loop, and says where: a thread looks at the loop's stack while the loop is late.

Everything of poolguard's shares one loop; whatever keeps it for long delays leases too. `loop_lag` tells that it
happened and how often, this one what it was. Only names of files, functions and line numbers are kept: no values.

Where nothing runs on the late loop, nothing blocks it: the process was not given the CPU. That counts as a place of its
own, and is told only when it lasts.
"""

import asyncio
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

log = logging.getLogger(__name__)

BEAT_SECONDS: Final = 0.02
LATE_SECONDS: Final = 0.05
"""For so long the loop may be silent; what blocks it for longer is looked at."""
STUCK_SECONDS: Final = 5.0
"""A loop that has not come back by then is told of from outside of it."""
PAUSE_SECONDS: Final = 10.0
"""At most one line in the log in so long; the metric counts all."""
MAX_PLACES: Final = 50
OTHER: Final = "other"
NO_CPU: Final = "nothing ran: no CPU"
"""The place where the loop was late and no code ran on it."""
NO_CPU_SECONDS: Final = 0.5
"""Shorter pauses of that kind are the machine's daily life, and are only counted."""
_FRAMES: Final = 12
_PACKAGE: Final = Path(__file__).parents[1]


class Watchdog:
    """A service. Make and start it on the loop that it watches."""

    name = "watchdog"

    def __init__(self, *, late_seconds: float = LATE_SECONDS, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._late: Final = late_seconds
        self._pause: Final = pause_seconds
        self.blocked: Final[Counter[str]] = Counter()
        """How often the loop was late, by the place in the code that it was found at."""
        self._beat_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._turning: CodeType | None = None
        """The code that turns the loop: whatever is innermost beside it runs on the loop."""
        self._thread: threading.Thread | None = None
        self._ending: Final = threading.Event()
        self._loop_thread = 0
        self._found: Sequence[str] = ()
        """Where the loop was found when it was late; set by the thread, taken by the loop when it comes back."""
        self._told_at = float("-inf")
        self._stuck_told = False

    async def start(self) -> None:
        """Begin to watch."""
        self._loop_thread = threading.get_ident()
        self._beat_at = time.monotonic()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(0, self._beat, loop)  # not at once: it looks at who calls it
        self._thread = threading.Thread(target=self._watch, name=self.name, daemon=True)
        self._thread.start()

    async def drain(self, deadline: float) -> None:
        """Nothing to finish: it watches to the end."""

    async def stop(self) -> None:
        """End the thread."""
        self._ending.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    # On the loop

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        if self._turning is None:
            self._turning = _turns_the_loop(sys._getframe(1))  # noqa: SLF001 - as below
        if self._found:
            self._came_back(now)
        self._beat_at = now
        self._timer = loop.call_later(BEAT_SECONDS, self._beat, loop)

    def _came_back(self, now: float) -> None:
        stack, self._found, self._stuck_told = self._found, (), False
        place = place_of(stack)
        self.blocked[place if place in self.blocked or len(self.blocked) < MAX_PLACES else OTHER] += 1
        late = now - self._beat_at
        if now - self._told_at < self._pause or (place == NO_CPU and late < NO_CPU_SECONDS):
            return
        self._told_at = now
        if place == NO_CPU:
            log.warning(
                "the process was not given the CPU: raise its request, or take away its limit",
                extra={"late_seconds": round(late, 3)},
            )
            return
        log.warning(
            "event loop was blocked",
            extra={"blocked_seconds": round(late, 3), "place": place, "stack": list(stack)},
        )

    # In the thread

    def _watch(self) -> None:
        while not self._ending.wait(BEAT_SECONDS):
            beat_at = self._beat_at
            late = time.monotonic() - beat_at - BEAT_SECONDS
            if late < self._late:
                continue
            if not self._found:
                stack = stack_of(self._loop_thread, self._turning)
                if self._beat_at == beat_at:  # else it came back while it was looked at
                    self._found = stack
            elif late >= STUCK_SECONDS and not self._stuck_told:
                self._stuck_told = True
                stack = stack_of(self._loop_thread)
                log.error("event loop is stuck", extra={"place": place_of(stack), "stack": list(stack)})


def stack_of(thread: int, turning: CodeType | None = None) -> Sequence[str]:
    """Where *thread* is: `file:line function`, the innermost call last; a few of poolguard's own and below.

    Only `NO_CPU` if there is nothing but the code *turning* its loop.
    """
    frame: FrameType | None = sys._current_frames().get(thread)  # noqa: SLF001 - there is no other way, and it is documented
    if frame is not None and turning is not None and _nothing_runs(frame, turning):
        return (NO_CPU,)
    found: list[str] = []
    while frame is not None and len(found) < _FRAMES:
        code = frame.f_code
        found.append(f"{_short(code.co_filename)}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return tuple(reversed(found)) or ("?:0 ?",)


def _turns_the_loop(caller: FrameType) -> CodeType:
    """What calls callbacks: uvloop has no frame, so it is whoever runs that; asyncio has one between."""
    if caller.f_code.co_name == "_run" and caller.f_back is not None:
        return caller.f_back.f_code
    return caller.f_code


def _nothing_runs(innermost: FrameType, turning: CodeType) -> bool:
    waits = innermost.f_back is not None and innermost.f_code.co_name == "select"  # asyncio's, for sockets and timers
    return innermost.f_code is turning or (
        waits and innermost.f_back is not None and innermost.f_back.f_code is turning
    )


def _short(file: str) -> str:
    path = Path(file)
    if path.is_relative_to(_PACKAGE):
        return str(path.relative_to(_PACKAGE.parent))
    return "/".join(path.parts[-2:])


def place_of(stack: Sequence[str]) -> str:
    """The innermost function of poolguard's own, `poolguard/x/y.py function`; of anybody's if there is none."""
    if NO_CPU in stack:
        return NO_CPU
    own = [line for line in stack if line.startswith(f"{_PACKAGE.name}/")]
    where, _, function = (own or list(stack))[-1].partition(" ")
    return f"{where.rpartition(':')[0]} {function}"
