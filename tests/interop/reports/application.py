"""An application in its own language: it tells what happens to it in JSON lines, and waits where it is told to."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

END_SECONDS: Final = 10


class Application:
    """One process. It reads a line of standard input where it waits; the end of its input ends it, so it never outlives us."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._process: Final = subprocess.Popen(
            list(command), env=dict(environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def told(self, event: str) -> dict[str, Any]:
        """Wait for the line that tells of *event*. Raises AssertionError when it tells of another one, or ends."""
        assert self._process.stdout is not None, "it is a pipe"
        line = self._process.stdout.readline()
        assert line, f"the application ended and did not tell of {event}; exit code {self._process.wait(END_SECONDS)}"
        facts: dict[str, Any] = json.loads(line)
        assert facts["event"] == event, f"expected {event}, was told {facts}"
        return facts

    def go_on(self) -> None:
        """Let it go on from where it waits."""
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.write("go on\n")
        self._process.stdin.flush()

    def end(self) -> int:
        """Close its input and wait for its end; the exit code."""
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.close()
        return self._process.wait(END_SECONDS)
