"""Children end with their owner, however the owner ended."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolguard.core.errors import UpstreamUnavailable
from poolguard.demo import keeper
from poolguard.demo.keeper import living
from poolguard.demo.kept import KeptProcesses
from tests.support.eventually import eventually

PATIENT = [sys.executable, "-S", "-c", "import signal; print('up', flush=True); signal.pause()"]
STUBBORN = [
    *PATIENT[:-1],
    "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()",
]
OWNER = """
import signal
import sys
from pathlib import Path
from poolguard.demo.kept import KeptProcesses

# Whoever runs the tests may ignore these (a shell's `&`, nohup), and so would this.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
kept = KeptProcesses(Path(sys.argv[1]))
pid = kept.spawn(sys.argv[2:], log=kept.folder / "log", env={})
while not (kept.folder / "log").read_text():
    pass
print(pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="kept-"))


@pytest.fixture
def kept(folder: Path) -> Iterator[KeptProcesses]:
    processes = KeptProcesses(folder)
    yield processes
    processes.close()


def spawn(kept: KeptProcesses, argv: list[str]) -> int:
    """Start *argv* and return when it says that it is up."""
    log = kept.folder / "log"
    pid = kept.spawn(argv, log=log, env={})
    eventually(log.read_text)
    return pid


def test_a_child_runs_until_it_is_told_otherwise(kept: KeptProcesses) -> None:
    pid = spawn(kept, PATIENT)
    assert kept.poll(pid) is None
    kept.signal(pid, signal.SIGTERM)
    assert eventually(lambda: kept.poll(pid)) == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_child_takes_the_signals_that_the_keeper_itself_survives(kept: KeptProcesses, number: signal.Signals) -> None:
    pid = spawn(kept, PATIENT)
    kept._keeper.send_signal(number)
    kept.signal(pid, number)
    assert eventually(lambda: kept.poll(pid)) in (-number, 1)  # 1: Python makes SIGINT an exception


def test_what_a_child_says_is_in_its_log(kept: KeptProcesses) -> None:
    spawn(kept, PATIENT)
    assert (kept.folder / "log").read_text() == "up\n"


def test_closing_ends_the_children_and_removes_the_folder(kept: KeptProcesses) -> None:
    pid = spawn(kept, PATIENT)
    kept.close()
    assert pid not in living()
    assert not kept.folder.exists()
    kept.close()  # twice does no harm


def test_a_child_that_ignores_its_ending_signal_is_killed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    impatient = tmp_path / "keeper.py"
    source = Path(keeper.__file__).read_text()
    assert "QUIT_SECONDS: Final = 5.0" in source
    impatient.write_text(source.replace("QUIT_SECONDS: Final = 5.0", "QUIT_SECONDS: Final = 0.1"))
    monkeypatch.setattr(keeper, "__file__", str(impatient))
    kept = KeptProcesses(folder)
    pid = spawn(kept, STUBBORN)
    kept.close()
    assert pid not in living()
    assert not folder.exists()


def test_after_the_close_nothing_can_be_started(kept: KeptProcesses) -> None:
    kept.close()
    with pytest.raises(UpstreamUnavailable, match="closed"):
        kept.spawn(PATIENT, log=kept.folder / "log", env={})


def test_a_program_that_is_not_there_is_an_error(kept: KeptProcesses) -> None:
    with pytest.raises(UpstreamUnavailable, match="spawn failed: FileNotFoundError"):
        kept.spawn(["/no/such/program"], log=kept.folder / "log", env={})


def test_a_fork_of_the_owner_leaves_the_owners_children_alone(
    kept: KeptProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = spawn(kept, PATIENT)
    with monkeypatch.context() as in_the_fork:
        in_the_fork.setattr(os, "getpid", lambda: -1)
        kept.close()
    assert kept.poll(pid) is None


def test_when_the_keeper_was_killed_closing_still_leaves_nothing(kept: KeptProcesses) -> None:
    pid = spawn(kept, PATIENT)
    kept._keeper.kill()
    kept._keeper.wait()
    with pytest.raises(UpstreamUnavailable, match="has ended"):
        kept.poll(pid)
    kept.close()
    eventually(lambda: pid not in living())
    assert not kept.folder.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_ends_the_owner_ends_the_children_too(folder: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), *PATIENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert pid in living()
        owner.send_signal(number)
        owner.wait()
    eventually(lambda: pid not in living() and not folder.exists(), within=10)


def test_an_exception_that_ends_the_owner_ends_the_children_too(folder: Path) -> None:
    script = OWNER.replace("sys.stdin.read()", "raise SystemExit(3)")
    owner = subprocess.run(
        [sys.executable, "-c", script, str(folder), *PATIENT], capture_output=True, text=True, check=False
    )
    assert owner.returncode == 3, owner.stderr
    assert int(owner.stdout) not in living()  # atexit waits, so it is gone before the owner is
    assert not folder.exists()


def test_a_forked_process_that_outlives_the_owner_does_not_keep_the_children(folder: Path) -> None:
    """The fork holds a copy of the pipe, so the keeper must notice by other means."""
    script = OWNER.replace(
        "print(pid, flush=True)",
        "import os, time\nfork = os.fork()\nif fork == 0:\n    time.sleep(30)\n    os._exit(0)\n"
        "print(pid, fork, flush=True)",
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder), *PATIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        pid, fork = map(int, owner.stdout.readline().split())
        owner.kill()
        owner.wait()
    try:
        eventually(lambda: pid not in living() and not folder.exists(), within=10)
        assert fork in living()
    finally:
        os.kill(fork, signal.SIGKILL)
