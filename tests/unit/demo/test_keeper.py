"""The keeper's own parts, called in this process: the process table, killing a family, removing a folder."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from poolguard.demo import keeper
from poolguard.demo.keeper import Keeper, kill_tree, living, process_table, remove_folder

PARENT_OF_ONE = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.read()
"""

PARENT_OF_EVER_MORE = """
import os, signal
for _ in range(300):
    if os.fork() == 0:
        signal.pause()
    print("another", flush=True)
signal.pause()
"""


def test_the_table_knows_us_and_our_parent() -> None:
    parent, state = process_table()[os.getpid()]
    assert parent == os.getppid()
    assert state in "RSD"


def test_where_there_is_no_proc_ps_tells_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = f"    1     0 Ss\n{os.getpid():>5} {os.getppid()} S+\n 4242     1 Z\n"
    monkeypatch.setattr(Path, "exists", lambda self: False)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout=listing))
    assert process_table() == {1: (0, "S"), os.getpid(): (os.getppid(), "S"), 4242: (1, "Z")}
    assert living() == {1, os.getpid()}


def test_killing_a_process_takes_its_children_along() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT_OF_ONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert child in living()

        assert kill_tree(process)

        assert process.returncode == -9
        assert child not in living()


def test_a_child_that_was_forked_while_processes_were_listed_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT_OF_ONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        listings = iter([{process.pid: (os.getpid(), "T")}])
        monkeypatch.setattr(keeper, "process_table", lambda: next(listings, None) or process_table())

        assert kill_tree(process)

        assert child not in living()


def test_what_is_forked_while_its_parent_is_killed_goes_along() -> None:
    with subprocess.Popen(
        [sys.executable, "-S", "-c", PARENT_OF_EVER_MORE], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()

            assert kill_tree(process)

            assert {pid for pid in living() if _group(pid) == process.pid} == set()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def test_an_unknown_command_is_answered_with_an_error(tmp_path: Path) -> None:
    assert Keeper(tmp_path).handle({"do": "dance"}) == {"error": "unknown command"}


def test_a_pid_that_is_not_the_keepers_is_never_signalled(tmp_path: Path) -> None:
    reply = Keeper(tmp_path).handle({"do": "signal", "pid": os.getpid(), "signal": 9})
    assert reply["error"].startswith("KeyError")


def test_a_folder_goes_with_all_in_it(tmp_path: Path) -> None:
    doomed = tmp_path / "doomed"
    (doomed / "deep").mkdir(parents=True)
    (doomed / "deep" / "file").touch()
    assert remove_folder(doomed)
    assert not doomed.exists()
    assert remove_folder(doomed)


def test_a_folder_that_can_not_be_removed_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolguard.demo.keeper.shutil.rmtree", lambda *_, **__: None)
    assert not remove_folder(tmp_path, within=0.0)
