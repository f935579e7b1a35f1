"""The owner's side of the keeper: processes that end with the owner, however the owner ends."""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from poolguard.core.errors import UpstreamUnavailable
from poolguard.demo import keeper
from poolguard.demo.identity import OURSELVES, Identity

_CLOSE_SECONDS: Final = 30.0


class KeptProcesses:
    """A keeper, its children and *folder*; all are gone when this is closed or this process has ended.

    Blocking and safe to use from several threads. A fork of this process may not use it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self._owner_pid = os.getpid()
        self._lock = threading.Lock()
        self._spawned: list[int] = []
        # -I and -S: the keeper starts in 20 ms and nothing in the environment changes what it imports.
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(keeper.__file__), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        atexit.register(self.close)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        identity: Identity = OURSELVES,
        end_signal: signal.Signals = signal.SIGTERM,
    ) -> int:
        """Start *argv* with its output appended to *log*; return its pid.

        *end_signal* ends it when the owner is gone; what still lives 5 s later is killed.
        """
        reply = self._ask(
            do="spawn",
            argv=list(argv),
            log=str(log),
            env=dict(env),
            cwd=str(self.folder),
            uid=identity.uid,
            gid=identity.gid,
            end_signal=int(end_signal),
        )
        self._spawned.append(int(reply["pid"]))
        return self._spawned[-1]

    def poll(self, pid: int) -> int | None:
        """Return the exit code of a spawned process (negative: the signal), None while it runs."""
        returncode = self._ask(do="poll", pid=pid)["returncode"]
        return None if returncode is None else int(returncode)

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a spawned process; nothing happens if it has ended."""
        self._ask(do="signal", pid=pid, signal=int(number))

    def kill(self, pid: int) -> None:
        """SIGKILL a spawned process and its children; return when all are gone."""
        if not self._ask(do="kill", pid=pid)["gone"]:
            raise UpstreamUnavailable(f"children of process {pid} outlived SIGKILL by 10 s")

    def _ask(self, **command: object) -> dict[str, Any]:
        requests, replies = self._keeper.stdin, self._keeper.stdout
        assert requests is not None, "the keeper was started with pipes"
        assert replies is not None, "the keeper was started with pipes"
        with self._lock:
            if requests.closed:
                raise UpstreamUnavailable("this is closed: make a new one")
            try:
                requests.write(json.dumps(command).encode() + b"\n")
                requests.flush()
                line = replies.readline()
            except BrokenPipeError:
                line = b""
        if not line:
            raise UpstreamUnavailable("the process that keeps PostgreSQL has ended: something killed it")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise UpstreamUnavailable(f"{command['do']} failed: {reply['error']}")
        return reply

    def close(self) -> None:
        """End the children, remove the folder, end the keeper; twice does no harm."""
        if os.getpid() != self._owner_pid:
            return  # atexit in a fork: the processes are the owner's, not ours
        atexit.unregister(self.close)
        with self._lock:
            for pipe in (self._keeper.stdin, self._keeper.stdout):
                if pipe is not None and not pipe.closed:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        continue  # the keeper has ended, a command was still in the buffer
        try:
            self._keeper.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        if self._keeper.returncode != 0:
            self._clean_up_after_a_dead_keeper()

    def _clean_up_after_a_dead_keeper(self) -> None:
        for pid in reversed(self._spawned):
            try:
                # Each child leads a session; a pid that was used again since then hardly does.
                if os.getsid(pid) == pid:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        keeper.remove_folder(self.folder)
