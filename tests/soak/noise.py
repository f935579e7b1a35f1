"""What the machine itself adds to a round trip just now: an echo between two processes."""

import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.soak.verdict import quantile

START_SECONDS: Final = 30.0
SHARE: Final = 0.1
"""Of a bound that noise may be, for a figure to be judged by that bound."""


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

    @property
    def p99(self) -> float:
        """Of all so far."""
        return quantile(self.milliseconds, 0.99)

    def lets_judge(self, bound: float) -> bool:
        """Whether a p99 that must keep *bound* means anything on this machine now."""
        return self.p99 <= bound * SHARE


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
