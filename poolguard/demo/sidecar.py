"""A real `poolguard run` in a process of its own, with a private settings file and free ports."""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import poolguard
from poolguard.core.errors import UpstreamUnavailable
from poolguard.demo.api import Api, ApiFailed
from poolguard.demo.kept import KeptProcesses
from poolguard.demo.ports import free_port
from poolguard.demo.scene import Ports, settings_text

READY_SECONDS: Final = 20.0
STOP_SECONDS: Final = 15.0
_STEP_SECONDS: Final = 0.02
_FOREIGN: Final = ("PG", "DATABASE_URL", "POOLGUARD_")


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Take *environ* without what would point poolguard elsewhere, and let it find this very package."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_FOREIGN)}
    home = str(Path(poolguard.__file__).parents[1])
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (home, environ.get("PYTHONPATH", ""))))
    return kept


def json_lines(text: str) -> list[dict[str, Any]]:
    """Read a JSON log. A line that is none (a traceback, half a line) is passed over."""
    lines = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            lines.append(entry)
    return lines


class Sidecar:
    """Ready on entry, drained on exit; gone when this process is, like all KeptProcesses.

    Raises UpstreamUnavailable, with the end of its log, when it does not become ready.
    """

    def __init__(self, upstream_url: str) -> None:
        self._upstream_url = upstream_url
        self.ports: Final = Ports(clients=free_port(), control=free_port(), metrics=free_port())
        self._kept: KeptProcesses | None = None
        self._log: Path | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        folder = Path(tempfile.mkdtemp(prefix="poolguard-demo-"))
        self._kept = KeptProcesses(folder)
        self._log = folder / "log"
        config = folder / "poolguard.yaml"
        config.touch(mode=0o600)
        config.write_text(settings_text(self._upstream_url, self.ports))
        try:
            self._pid = self._kept.spawn(
                [sys.executable, "-m", "poolguard", "run", "--config", str(config)],
                log=self._log,
                env=child_environment(os.environ),
            )
            self._wait_until_ready()
        except BaseException:
            self._kept.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._kept is not None, "left before it was entered"
        self._kept.close()

    def log_text(self) -> str:
        """All that it has logged so far."""
        return self._log.read_text(errors="replace") if self._log is not None and self._log.exists() else ""

    def kill(self) -> None:
        """SIGKILL: whoever waits for an answer from it gets an error now."""
        assert self._kept is not None, "killed before it was entered"
        self._kept.kill(self._pid)

    def stop(self) -> int:
        """SIGTERM, as Kubernetes does it; return the exit code (negative: the signal that had to be used)."""
        assert self._kept is not None, "stopped before it was entered"
        self._kept.signal(self._pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while (returncode := self._kept.poll(self._pid)) is None:
            if time.monotonic() >= deadline:
                self._kept.kill(self._pid)
            time.sleep(_STEP_SECONDS)
        return returncode

    def _wait_until_ready(self) -> None:
        assert self._kept is not None, "not started"
        deadline = time.monotonic() + READY_SECONDS
        while True:
            returncode = self._kept.poll(self._pid)
            if returncode is not None:
                raise UpstreamUnavailable(f"poolguard ended with exit code {returncode}\n{self._log_tail()}")
            try:
                with Api(self.ports.metrics) as api:
                    if api.ask("GET", "/readyz")[0] == 200:
                        return
            except ApiFailed:
                pass  # it does not listen yet
            if time.monotonic() >= deadline:
                raise UpstreamUnavailable(f"poolguard is not ready after {READY_SECONDS:.0f} s\n{self._log_tail()}")
            time.sleep(_STEP_SECONDS)

    def _log_tail(self, lines: int = 20) -> str:
        return "\n".join(self.log_text().splitlines()[-lines:])
