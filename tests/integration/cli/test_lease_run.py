"""`poolguard lease run` as a process, against a real daemon."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolguard.cli.exits import Exit
from tests.support.eventually import eventually
from tests.support.sidecars import Sidecar

TTL = "2s"
PATIENT = "import signal, time; print('started', flush=True); signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True));"
    "print('started', flush=True)\nwhile True: signal.pause()"
)


@contextmanager
def running(sidecar: Sidecar, name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`poolguard lease run NAME ARGUMENTS`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "poolguard", "lease", "run", name, "--url", sidecar.url, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def command(code: str) -> list[str]:
    return ["--", sys.executable, "-c", code]


def started(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"


@pytest.mark.parametrize(
    ("code", "status"),
    [("pass", 0), ("raise SystemExit(7)", 7), ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137)],
)
def test_it_exits_with_the_status_of_the_command_and_gives_the_lease_back(
    sidecar: Sidecar, code: str, status: int
) -> None:
    with running(sidecar, "run-status", *command(code)) as process:
        assert process.wait(20) == status
    assert sidecar.holder_of("run-status") is None


def test_the_command_runs_as_holder_and_knows_its_token(sidecar: Sidecar) -> None:
    code = "import os; print(*(os.environ['POOLGUARD_LEASE_' + key] for key in ('NAME', 'HOLDER', 'TOKEN')))"
    with running(sidecar, "run-token", "--holder", "pod-1", *command(code)) as process:
        told, _ = process.communicate(timeout=20)
    name, holder, token = told.split()
    with sidecar.client() as client:
        lease = client.get("run-token")
    assert lease is not None
    assert (name, holder, int(token)) == ("run-token", "pod-1", lease["token"])


def test_everything_behind_the_dashes_is_the_commands(sidecar: Sidecar) -> None:
    code = "import sys; print(sys.argv[1:])"
    with running(sidecar, "run-dashes", *command(code), "--ttl", "--", "-h") as process:
        told, _ = process.communicate(timeout=20)
    assert told == "['--ttl', '--', '-h']\n"


def test_the_second_waits_until_the_first_has_ended(sidecar: Sidecar) -> None:
    with running(sidecar, "run-turn", *command(PATIENT)) as first:
        started(first)
        with running(sidecar, "run-turn", "--wait", "300ms", *command("pass")) as second:
            assert second.wait(20) == Exit.NOT_HELD
        first.send_signal(signal.SIGTERM)
        assert first.wait(20) == 128 + signal.SIGTERM
    with running(sidecar, "run-turn", "--wait", "10s", *command("pass")) as third:
        assert third.wait(20) == 0


def test_signals_are_the_commands(sidecar: Sidecar) -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(9)); print('started', flush=True);"
        "signal.pause()"
    )
    with running(sidecar, "run-signal", *command(code)) as process:
        started(process)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(20) == 9


def test_a_signal_before_the_election_ends_the_wait(sidecar: Sidecar) -> None:
    with (
        sidecar.client() as client,
        client.hold("run-wait", holder="other"),
        running(sidecar, "run-wait", *command("pass")) as process,
    ):
        assert process.stderr is not None
        assert "stands for" in process.stderr.readline()
        assert process.stderr.readline() == "poolguard lease: run-wait: it is held by other\n", (
            "it says what it waits for"
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM


def test_a_poolguard_that_is_not_there_is_told_once_and_not_waited_for_in_silence() -> None:
    line = [sys.executable, "-m", "poolguard", "lease", "run", "a", "--url", "http://127.0.0.1:1", "--wait", "2s"]
    done = subprocess.run([*line, "--", "true"], stderr=subprocess.PIPE, text=True, check=False, timeout=30)
    assert done.returncode == Exit.NOT_HELD
    (told,) = [said for said in done.stderr.splitlines() if "no poolguard at 127.0.0.1:1" in said]
    assert "refused" in told


def test_on_loss_the_command_is_asked_then_killed_before_the_term_would_have_ended(sidecar: Sidecar) -> None:
    with running(sidecar, "run-lost", "--ttl", "6s", "--grace", "200ms", "--once", *command(STUBBORN)) as process:
        started(process)
        sidecar.force("run-lost")
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        assert process.wait(20) == Exit.NOT_HELD
        assert process.stderr is not None
        told = process.stderr.read()
        assert "lost run-lost" in told
        assert "run-lost: this term is over" in told, "and why"


def test_after_a_loss_it_stands_again_and_starts_the_command_anew(sidecar: Sidecar) -> None:
    with running(sidecar, "run-again", "--ttl", TTL, *command(PATIENT)) as process:
        started(process)
        sidecar.force("run-again")
        started(process)


def test_a_request_to_step_down_is_met_by_the_command(sidecar: Sidecar) -> None:
    with running(sidecar, "run-step", "--ttl", TTL, "--once", *command(PATIENT)) as process:
        started(process)
        with sidecar.client() as client:
            client.step_down("run-step", hold_off_seconds=60, preferred="somebody else")
        assert process.wait(20) == Exit.NOT_HELD
        assert sidecar.holder_of("run-step") is None


def test_without_an_answer_the_command_ends_before_trust_does(sidecar: Sidecar) -> None:
    """Fault 2, seen by the application: the sidecar is stopped, and knows nothing of it."""
    code = f"import os; print(os.getpid(), flush=True); {STUBBORN}"
    with running(sidecar, "run-silent", "--ttl", "3s", "--grace", "500ms", "--once", *command(code)) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        started(process)
        sidecar.daemon.signal(signal.SIGSTOP)
        try:
            eventually(lambda: not alive(pid), within=20.0)
            # PostgreSQL's own clock: the term that nobody renewed has not ended yet.
            with sidecar.database.connect() as admin:
                found = admin.execute(
                    "SELECT expires_at > clock_timestamp() FROM poolguard.lease WHERE name = 'run-silent'"
                )
                assert found.fetchone() == (True,)
            assert process.wait(20) == Exit.NOT_HELD
        finally:
            sidecar.daemon.signal(signal.SIGCONT)


def test_what_the_command_left_running_ends_with_it(sidecar: Sidecar, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']);"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid))"
    )
    with running(sidecar, "run-left", *command(code)) as process:
        assert process.wait(20) == 0
    eventually(lambda: not alive(int(pid_file.read_text())))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_the_command_does_not_outlive_a_runner_that_is_killed(sidecar: Sidecar) -> None:
    code = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    with running(sidecar, "run-killed", *command(code)) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
        process.wait(20)
        eventually(lambda: not alive(pid))


def alive(pid: int) -> bool:
    """Whether *pid* runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("argv", "status"), [(["/nowhere/at-all"], Exit.NO_COMMAND), (["/etc/passwd"], Exit.CANNOT_RUN)]
)
def test_a_command_that_can_not_be_run_is_told_as_shells_do(sidecar: Sidecar, argv: list[str], status: int) -> None:
    with running(sidecar, "run-nothing", "--", *argv) as process:
        assert process.wait(20) == status
    assert sidecar.holder_of("run-nothing") is None


def test_a_grace_that_eats_the_term_is_wrong_usage(sidecar: Sidecar) -> None:
    with running(sidecar, "run-grace", "--ttl", "4s", "--grace", "3s", *command("pass")) as process:
        assert process.wait(20) == Exit.USAGE
