"""What the machine itself adds to a round trip just now: an echo between two processes."""

import multiprocessing
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

START_SECONDS: Final = 30.0
SHARE: Final = 0.1
"""Of a bound that noise may be, for a figure to be judged by that bound."""
_SCHED: Final = 2
"""clock_getcpuclockid(3) makes the clock of a process so, by Linux: its pid, inverted, above three bits."""


def bound_beside(noise_p99: float, bound: float) -> float | None:
    """What a p99 may be where one of *bound* is promised, and an echo's p99 is *noise_p99*; None: it means nothing."""
    return bound + noise_p99 if noise_p99 <= bound * SHARE else None


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """For how long a process has run, and had to wait though it could: nanoseconds, by Linux."""

    pid: int
    ran: int
    waited: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Until now; nothing where there is no Linux."""
        try:
            ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
        except OSError:
            return cls(pid, 0, 0)
        return cls(pid, int(ran), int(waited))

    def waited_share(self) -> float | None:
        """Of the time since then that the process could have run, how much it waited, in percent; None: unknown."""
        now = type(self).of(self.pid)
        could = now.ran - self.ran + now.waited - self.waited
        return 100 * (now.waited - self.waited) / could if could else None


@dataclass(frozen=True, slots=True)
class ProcessClock:
    """How long another process has run, on all its threads, to the nanosecond also while it runs."""

    id: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """None: this system has no such clock."""
        clock = cls(~pid << 3 | _SCHED)
        try:
            clock.seconds()
        except OSError:
            return None
        return clock if sys.platform == "linux" else None

    def seconds(self) -> float:
        """Until now. Raises OSError once the process has gone."""
        return time.clock_gettime(self.id)


@dataclass(slots=True)
class Noise:
    """Round trips of one byte, in milliseconds. `ask` as often as what is measured beside it."""

    connection: socket.socket
    milliseconds: list[float] = field(default_factory=list)

    def ask(self) -> None:
        """One round trip."""
        began = time.perf_counter()
        self.connection.sendall(b"?")
        self.connection.recv(1)
        self.milliseconds.append((time.perf_counter() - began) * 1000)


@contextmanager
def echo() -> Iterator[Noise]:
    """Talk to a process that does nothing else."""
    context = multiprocessing.get_context("spawn")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(START_SECONDS)
        process = context.Process(target=_serve, args=(listener.getsockname()[1],), daemon=True)
        process.start()
        connection, _ = listener.accept()
    connection.setblocking(True)
    try:
        yield Noise(connection)
    finally:
        connection.close()
        process.join(10)


def _serve(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while asked := connection.recv(1):
            connection.sendall(asked)
