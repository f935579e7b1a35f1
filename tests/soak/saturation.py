"""Renewals and /leader with every pool exhausted, queues full and the relay at full load; beside it, one that starves."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from bench.processes import find_program
from poolguard.demo.postgres import EmbeddedPostgres
from tests.soak.asking import asking
from tests.soak.crowd import Crowd, crowding
from tests.soak.noise import ProcessorTime, bound_beside
from tests.soak.shared import elector_in_a_pool, leaking
from tests.soak.stage import pod_settings, postgres
from tests.soak.verdict import Figure, Part, quantile
from tests.support.daemon import Daemon

SIZES: Final = {"app": 20, "jobs": 10}
MAX_WAITING: Final = 30
LOAD_CLIENTS: Final = 20
RENEWAL_MS: Final = 25.0
LEADER_MS: Final = 2.0
IDLE_SHARE: Final = 0.2
"""Of the time, for comparison."""


def run(seconds: float, seed: int, say: Callable[[str], None]) -> Part:
    """First idle, then with everything exhausted."""
    del seed
    part = Part("saturation")
    with ExitStack() as stack:
        running = stack.enter_context(postgres())
        daemon = stack.enter_context(_daemon(running))
        asker = stack.enter_context(asking(daemon.control_url, daemon.pid))
        elector, pool = stack.enter_context(elector_in_a_pool(running.url, SIZES["app"]))
        idle = asker.measure(seconds * IDLE_SHARE)
        say("idle measured")
        part.figures += idle.renewals.figures("renewal, idle", most_p99=None, none_failed=True)
        part.figures += idle.answers.figures("/leader, idle", most_p99=None, none_failed=True)
        stack.enter_context(leaking(pool, SIZES["app"]))
        stack.enter_context(crowding({name: _crowd(daemon, name) for name in SIZES}))
        stack.enter_context(_load(running, daemon))
        attempts, failed = elector.attempts, elector.failed
        say("everything exhausted, the relay at full load")
        turns = ProcessorTime.of(daemon.pid)
        measured = asker.measure(seconds * (1 - IDLE_SHARE))
        waited = turns.waited_share()
        full = {name: daemon.pool(name) for name in SIZES}
        noise = quantile(measured.noise, 0.99)
        for what, taken, bound in (
            ("renewal", measured.renewals, RENEWAL_MS),
            ("/leader", measured.answers, LEADER_MS),
        ):
            most = bound_beside(noise, bound)
            part.figures += taken.figures(f"{what}, exhausted", most_p99=most, none_failed=True, most_own_p99=bound)
            if most is None:
                part.notes.append(
                    f"{what}: p99 is not judged (at most {bound:g} ms), the machine's own noise is too loud"
                )
        part.figures.append(Figure("noise of the machine: an echo, p50", quantile(measured.noise, 0.5), "ms"))
        part.figures.append(Figure("noise of the machine: an echo, p99", noise, "ms"))
        if waited is not None:
            part.figures.append(Figure("of the time that poolguard could run, it waited for a processor", waited, "%"))
        if not measured.in_real_time:
            part.notes.append("the client had to wait for a processor like all others: that is in its figures")
        part.figures += [
            Figure(f"pool {name}: waiting", shown["waiting"], least=MAX_WAITING // 2) for name, shown in full.items()
        ]
        part.figures += [
            Figure("an elector in the application's pool: attempts", elector.attempts - attempts),
            Figure("an elector in the application's pool: failed", elector.failed - failed),
            Figure("an elector in the application's pool: leads at the end", elector.leads, most=0),
        ]
    return part


@contextmanager
def _daemon(running: EmbeddedPostgres) -> Iterator[Daemon]:
    patient = {"warn": "1h"}
    settings = pod_settings(running.host, running.port, running.user)
    settings["pools"] = {
        **{
            name: {"size": size, "wait_timeout": "5s", "max_waiting": MAX_WAITING, "policy": "patient"}
            for name, size in SIZES.items()
        },
        "load": {"size": 10, "policy": "patient"},
    }
    settings["policies"] = {"patient": {"idle_in_transaction": patient}}
    daemon = Daemon(settings)
    try:
        daemon.start()
        daemon.wait_until_it_runs()
        yield daemon
    finally:
        daemon.close()


def _crowd(daemon: Daemon, pool: str) -> Crowd:
    return Crowd(daemon.conninfo(pool), leaks=SIZES[pool], waiters=MAX_WAITING + 5)


@contextmanager
def _load(running: EmbeddedPostgres, daemon: Daemon) -> Iterator[None]:
    pgbench = str(find_program("pgbench", running.binaries.folder))
    where = ["-h", "127.0.0.1", "-U", running.user]
    subprocess.run([pgbench, "-i", "-q", *where, "-p", str(running.port), "postgres"], check=True, capture_output=True)
    process = subprocess.Popen(
        [pgbench, "-S", "-n", "-c", str(LOAD_CLIENTS), "-T", "86400", *where, "-p", str(daemon.clients_port), "load"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError("pgbench has ended: figures would be too good")
    finally:
        process.kill()
        process.wait()
