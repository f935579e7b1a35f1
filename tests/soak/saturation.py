"""Renewals and /leader with every pool exhausted, queues full and the relay at full load; beside it, one that starves."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from bench.pgbench import find
from poolguard.client import LeaseClient, Term
from poolguard.client.term import boottime
from poolguard.core.errors import PoolguardError
from poolguard.demo.postgres import EmbeddedPostgres
from tests.soak.crowd import Crowd, crowding
from tests.soak.noise import Noise, echo
from tests.soak.shared import elector_in_a_pool, leaking
from tests.soak.stage import pod_settings, postgres
from tests.soak.verdict import Figure, Part, quantile
from tests.support.daemon import Daemon

SIZES: Final = {"app": 20, "jobs": 10}
MAX_WAITING: Final = 30
LOAD_CLIENTS: Final = 20
TTL: Final = 15.0
RENEW_EVERY_SECONDS: Final = 0.05
ASK_EVERY_SECONDS: Final = 0.02
RENEWAL_MS: Final = 25.0
LEADER_MS: Final = 2.0
IDLE_SHARE: Final = 0.2
"""Of the time, for comparison."""


@dataclass(slots=True)
class Taken:
    """Milliseconds of each request, and how many failed."""

    milliseconds: list[float] = field(default_factory=list)
    failed: int = 0

    def figures(self, what: str, *, most_p99: float | None, none_failed: bool) -> Iterator[Figure]:
        """In figures."""
        yield Figure(f"{what}: number", len(self.milliseconds), least=1)
        yield Figure(f"{what}: p50", quantile(self.milliseconds, 0.5), "ms")
        yield Figure(f"{what}: p99", quantile(self.milliseconds, 0.99), "ms", most=most_p99)
        yield Figure(f"{what}: worst", max(self.milliseconds, default=0.0), "ms")
        yield Figure(f"{what}: failed", self.failed, most=0 if none_failed else None)


def run(seconds: float, seed: int, say: Callable[[str], None]) -> Part:
    """First idle, then with everything exhausted."""
    del seed
    part = Part("saturation")
    with ExitStack() as stack:
        running = stack.enter_context(postgres())
        daemon = stack.enter_context(_daemon(running))
        noise = stack.enter_context(echo())
        elector, pool = stack.enter_context(elector_in_a_pool(running.url, SIZES["app"]))
        idle_renewals, idle_answers = _measure(daemon.control_url, seconds * IDLE_SHARE, noise)
        say("idle measured")
        part.figures += idle_renewals.figures("renewal, idle", most_p99=None, none_failed=True)
        part.figures += idle_answers.figures("/leader, idle", most_p99=None, none_failed=True)
        stack.enter_context(leaking(pool, SIZES["app"]))
        stack.enter_context(crowding({name: _crowd(daemon, name) for name in SIZES}))
        stack.enter_context(_load(running, daemon))
        attempts, failed = elector.attempts, elector.failed
        say("everything exhausted, the relay at full load")
        renewals, answers = _measure(daemon.control_url, seconds * (1 - IDLE_SHARE), noise)
        full = {name: daemon.pool(name) for name in SIZES}
        for what, taken, bound in (("renewal", renewals, RENEWAL_MS), ("/leader", answers, LEADER_MS)):
            judged = noise.lets_judge(bound)
            part.figures += taken.figures(f"{what}, exhausted", most_p99=bound if judged else None, none_failed=True)
            if not judged:
                part.notes.append(
                    f"{what}: p99 is not judged (at most {bound:g} ms), the machine's own noise is too loud"
                )
        part.figures.append(Figure("noise of the machine: an echo, p99", noise.p99, "ms"))
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
    pgbench = str(find(running.binaries.folder))
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


def _measure(url: str, seconds: float, noise: Noise) -> tuple[Taken, Taken]:
    renewals, answers = Taken(), Taken()
    finished = threading.Event()
    with LeaseClient(url) as client:
        term = client.acquire("saturation", holder="holder", ttl_seconds=TTL)
        asking = threading.Thread(target=_ask, args=(url, answers, finished), daemon=True)
        asking.start()
        deadline = boottime() + seconds
        while boottime() < deadline:
            term = _renewed(client, term, renewals)
            noise.ask()
            time.sleep(RENEW_EVERY_SECONDS)
        finished.set()
        asking.join(10)
        client.release(term)
    return renewals, answers


def _renewed(client: LeaseClient, term: Term, taken: Taken) -> Term:
    began = time.perf_counter()
    try:
        term = client.renew(term)
    except PoolguardError:
        taken.failed += 1
    taken.milliseconds.append((time.perf_counter() - began) * 1000)
    return term


def _ask(url: str, taken: Taken, finished: Any) -> None:
    with LeaseClient(url) as client:
        while not finished.wait(ASK_EVERY_SECONDS):
            began = time.perf_counter()
            shown = client.leader("saturation")
            taken.milliseconds.append((time.perf_counter() - began) * 1000)
            taken.failed += shown is None
