"""The process that holds an owner's child processes and private folder, and ends them when the owner is gone.

Run as a script (`python -I -S keeper.py FOLDER`), so it imports the standard library only. Commands come as
JSON lines on standard input, one reply line each on standard output; end of input is the end of the owner.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

QUIT_SECONDS: Final = 5.0
"""How long a child has between its ending signal and SIGKILL."""

_PARENT_CHECK_SECONDS: Final = 1.0
_STEP_SECONDS: Final = 0.01
_STILL: Final = "TtZ"
"""State letters of a process that forks no more: stopped, traced, ended."""
_GONE: Final = (0, "Z")


class Child:
    """One process that runs until told otherwise."""

    def __init__(self, process: "subprocess.Popen[bytes]", end_signal: int) -> None:
        self.process = process
        self.end_signal = end_signal


class Keeper:
    """Carries out commands; `end` leaves neither a child nor the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: dict[int, Child] = {}

    def handle(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command; the reply has `error` if that failed."""
        try:
            match command:
                case {"do": "spawn"}:
                    return {"pid": self._spawn(command)}
                case {"do": "signal", "pid": int(pid), "signal": int(number)}:
                    self._children[pid].process.send_signal(number)
                    return {}
                case {"do": "poll", "pid": int(pid)}:
                    return {"returncode": self._children[pid].process.poll()}
                case {"do": "kill", "pid": int(pid)}:
                    return {"gone": kill_tree(self._children[pid].process)}
                case _:
                    return {"error": "unknown command"}
        except (OSError, subprocess.SubprocessError, KeyError, TypeError, ValueError) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def _spawn(self, command: dict[str, Any]) -> int:
        with Path(command["log"]).open("ab") as log:
            process = subprocess.Popen(
                command["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=command["cwd"],
                env=command["env"],
                user=command["uid"],
                group=command["gid"],
                extra_groups=[] if command["uid"] is not None else None,
                # A terminal's Ctrl-C is for the owner; it decides what ends when.
                start_new_session=True,
            )
        self._children[process.pid] = Child(process, command["end_signal"])
        return process.pid

    def end(self) -> None:
        """End all children, the latest first, then remove the folder."""
        for child in reversed(self._children.values()):
            if child.process.poll() is None:
                child.process.send_signal(child.end_signal)
                try:
                    child.process.wait(QUIT_SECONDS)
                except subprocess.TimeoutExpired:
                    kill_tree(child.process)
        remove_folder(self._folder)


def remove_folder(folder: Path, *, within: float = 2.0) -> bool:
    """Remove *folder* with all in it; False if something is still there after *within* seconds.

    A file that a dying backend still writes makes the first try fail.
    """
    deadline = time.monotonic() + within
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(_STEP_SECONDS)


def kill_tree(process: "subprocess.Popen[bytes]", *, within: float = 10.0) -> bool:
    """SIGKILL *process* and its children; True once all are gone, False if some are not *within* seconds."""
    deadline = time.monotonic() + within
    # It stands still first: a child that it forked between our look and its end would be missed, and one backend that
    # is left keeps PostgreSQL from starting again on its data.
    process.send_signal(signal.SIGSTOP)
    while process_table().get(process.pid, _GONE)[1] not in _STILL and time.monotonic() < deadline:
        time.sleep(_STEP_SECONDS)
    # Looked up anew: the processes are listed before it is seen which of them stands still.
    doomed = {pid for pid, (parent, _) in process_table().items() if parent == process.pid}
    process.kill()
    process.wait()
    for pid in doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    while doomed & living():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_STEP_SECONDS)
    return True


def living() -> set[int]:
    """All pids but zombies': an orphan that nobody reaps holds no memory and no file any more."""
    return {pid for pid, (_, state) in process_table().items() if state != "Z"}


def process_table() -> dict[int, tuple[int, str]]:
    """Parent and state letter of every process: from /proc, or where there is none from ps."""
    proc = Path("/proc")
    table: dict[int, tuple[int, str]] = {}
    if (proc / "self" / "stat").exists():
        for entry in proc.iterdir():
            if entry.name.isdigit():
                try:
                    # The name in parentheses may hold anything, parentheses too.
                    state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                except OSError:
                    continue  # it ended while we looked
                table[int(entry.name)] = (int(parent), state)
        return table
    listing = subprocess.run(
        ["/bin/ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    ).stdout
    for line in listing.splitlines():
        pid, parent, state = line.split()[:3]
        table[int(pid)] = (int(parent), state[0])
    return table


def serve(keeper: Keeper) -> None:
    """Answer commands until the owner is gone.

    The pipe closes when the owner ends, unless a process that the owner forked still holds a copy of it: then
    the change of our parent tells.
    """
    owner = os.getppid()
    pending = b""
    while True:
        readable, _, _ = select.select([0], [], [], _PARENT_CHECK_SECONDS)
        if not readable:
            if os.getppid() != owner:
                return
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            return
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            reply = json.dumps(keeper.handle(json.loads(line))) + "\n"
            try:
                os.write(1, reply.encode())
            except BrokenPipeError:
                return


def main() -> int:
    """Keep until the owner is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Not SIG_IGN: children would inherit that, and could no more be ended by these signals.
        signal.signal(number, lambda *_: None)
    keeper = Keeper(Path(sys.argv[1]))
    try:
        serve(keeper)
    finally:
        keeper.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
