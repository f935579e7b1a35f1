"""`poolguard lease run NAME -- command`: the command runs while the lease is held, and no longer."""

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Final

from poolguard.cli.exits import Exit
from poolguard.core.errors import LeaseHeld, LeaseHeldOff, LeaseLost, LeaseUnavailable, PoolguardError
from poolguard.core.units import parse_duration

if TYPE_CHECKING:
    from poolguard.client import LeaseClient
    from poolguard.client.holding import Holding

HELP: Final = "Run a command while a lease is held: start it on election, stop it on loss."

FORWARDED: Final = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")
    if hasattr(signal, name)
)
ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
"""While there is no command yet, these end the wait."""
MOST_GRACE_SECONDS: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1


def duration(text: str) -> float:
    """Seconds of `15s` and the like. Raises what argparse tells in its own words."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("argv", metavar="COMMAND", nargs="+", help="after --, with its arguments")
    parser.add_argument("--holder", metavar="TEXT", help="holderIdentity (default: host and process)")
    parser.add_argument("--ttl", type=duration, default=15.0, metavar="TIME", help="of a term; default: 15s")
    parser.add_argument(
        "--grace",
        type=duration,
        metavar="TIME",
        help="between SIGTERM and SIGKILL; default: a third of --ttl, at most 5s",
    )
    parser.add_argument("--wait", type=duration, metavar="TIME", help="give up standing for election after that")
    parser.add_argument("--once", action="store_true", help="end (exit code 3) when the lease is lost")


def run(client: "LeaseClient", arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Stand for election, run the command, again after each loss unless --once; return the exit status."""
    grace = min(MOST_GRACE_SECONDS, arguments.ttl / 3) if arguments.grace is None else arguments.grace
    if grace > arguments.ttl / 2:
        print("--grace must be at most half of --ttl: it is taken off the end of each term", file=sys.stderr)
        return Exit.USAGE
    runner = Runner(client, arguments.name, arguments.argv, environ=environ, grace_seconds=grace)
    with _handlers(runner.signalled):
        while True:
            status = runner.term(holder=arguments.holder, ttl_seconds=arguments.ttl, wait_seconds=arguments.wait)
            if status is not None:
                return status
            if arguments.once:
                return Exit.NOT_HELD


class Runner:
    """One lease and one command. Signals that come are the command's while it runs."""

    def __init__(
        self,
        client: "LeaseClient",
        name: str,
        argv: Sequence[str],
        *,
        environ: Mapping[str, str],
        grace_seconds: float,
    ) -> None:
        self._client: Final = client
        self._name: Final = name
        self._argv: Final = list(argv)
        self._environ: Final = environ
        self._grace_seconds: Final = grace_seconds
        self._changed: Final = threading.Event()
        """Something happened to the lease or to the command: look again."""
        self._holding: Holding | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._ended_by: int | None = None
        self._last_told = ""

    def signalled(self, number: int) -> None:
        """Take a signal: to the command, or to end the wait for the lease."""
        if self._child is not None:
            _signal_group(self._child, number)
        elif number in ENDING:
            self._ended_by = number
            if self._holding is not None:
                self._holding.leave()

    def term(self, *, holder: str | None, ttl_seconds: float, wait_seconds: float | None) -> int | None:
        """One election and what follows it. None: the lease was lost, and the command is stopped."""
        from poolguard.client.holding import Holding

        holding = Holding(
            self._client,
            self._name,
            holder=holder,
            ttl_seconds=ttl_seconds,
            wait_seconds=wait_seconds,
            on_change=lambda _: self._changed.set(),
            on_trouble=self._told,
        )
        self._holding = holding
        _say(f"{holding.holder} stands for {self._name}")
        try:
            if self._ended_by is None:
                holding.start()
        except TimeoutError as late:
            _say(str(late))
            return Exit.NOT_HELD
        except LeaseUnavailable:
            if self._ended_by is None:
                raise
        if self._ended_by is not None:
            holding.close()
            return 128 + self._ended_by
        try:
            return self._serve(holding)
        finally:
            holding.close()

    def _told(self, error: PoolguardError) -> None:
        """Say why it is not elected, or not confirmed; the same thing once, however often it is tried."""
        match error:
            case LeaseHeldOff():
                why = "a step-down lets others go first"
            case LeaseLost():
                why = error.message
            case LeaseHeld():
                why = f"it is held by {error.holder}"
            case _:
                why = ": ".join(part for part in (error.message, error.detail) if part)
        if why != self._last_told:
            self._last_told = why
            _say(f"{self._name}: {why}")

    def _serve(self, holding: "Holding") -> int | None:
        _say(f"elected: {self._name}, token {holding.token}")
        self._last_told = ""
        try:
            child = self._start(holding)
        except FileNotFoundError:
            _say(f"no such command: {self._argv[0]}")
            return Exit.NO_COMMAND
        except OSError as error:
            _say(f"can't run {self._argv[0]}: {error.strerror}")
            return Exit.CANNOT_RUN
        self._child = child
        if self._ended_by is not None:
            _signal_group(child, self._ended_by)  # it came in between: nobody else would pass it on
        try:
            return self._watch(child, holding)
        finally:
            # What it left behind in its process group would go on without the lease.
            _signal_group(child, signal.SIGKILL)
            child.wait()
            self._child = None

    def _start(self, holding: "Holding") -> "subprocess.Popen[bytes]":
        environment = {
            **self._environ,
            "POOLGUARD_LEASE_NAME": self._name,
            "POOLGUARD_LEASE_HOLDER": holding.holder,
            "POOLGUARD_LEASE_TOKEN": str(holding.token),
        }
        child = subprocess.Popen(  # noqa: S603 - running what the caller names is what this is for
            self._argv, env=environment, process_group=0, preexec_fn=_die_with_the_parent()
        )
        threading.Thread(target=self._await_end, args=(child,), name="lease command", daemon=True).start()
        return child

    def _await_end(self, child: "subprocess.Popen[bytes]") -> None:
        child.wait()
        self._changed.set()

    def _watch(self, child: "subprocess.Popen[bytes]", holding: "Holding") -> int | None:
        while child.poll() is None:
            if holding.term.step_down:
                _say(f"asked to step down from {self._name}: stopping the command")
                self._stop(child, self._grace_seconds)
                return None
            # SIGKILL must come before trust ends, so SIGTERM comes a grace before that.
            left = holding.remaining_seconds - self._grace_seconds
            if left <= 0:
                _say(f"lost {self._name}: stopping the command")
                self._stop(child, min(self._grace_seconds, max(0.0, holding.term.remaining_seconds())))
                return None
            self._changed.wait(left)
            self._changed.clear()
        status = child.returncode
        return 128 - status if status < 0 else status

    def _stop(self, child: "subprocess.Popen[bytes]", seconds: float) -> None:
        _signal_group(child, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(seconds)


@contextmanager
def _handlers(take: Callable[[int], None]) -> Iterator[None]:
    def handle(number: int, _: FrameType | None) -> None:
        take(number)

    before = {number: signal.signal(number, handle) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _signal_group(child: "subprocess.Popen[bytes]", number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _die_with_the_parent() -> Callable[[], None] | None:
    """Linux ends the command if we are killed: nobody would stop it when the lease goes to another."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _say(text: str) -> None:
    print(f"poolguard lease: {text}", file=sys.stderr, flush=True)
