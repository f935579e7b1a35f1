"""Faults: each begins, lasts as long as chance has it, and is healed."""

import random
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from poolguard.client import LeaseClient
from poolguard.core.errors import PoolguardError
from poolguard.demo.postgres import EmbeddedPostgres, StopMode
from tests.soak.stage import ADMIN_TOKEN, Pod
from tests.support.history import Forced, History, boottime
from tests.support.network import Network
from tests.support.proxy import Way
from tests.support.recorder import Contender


@dataclass(frozen=True, slots=True)
class World:
    """Everything that can be broken."""

    postgres: EmbeddedPostgres
    network: Network
    pods: Sequence[Pod]
    contenders: Sequence[Contender]
    history: History
    chance: random.Random
    ttl: float
    stopped: threading.Event

    def last(self, shortest: float, longest: float) -> None:
        """Let a fault last."""
        self.stopped.wait(self.chance.uniform(shortest, longest))

    def leader(self) -> Contender | None:
        """One of those who lead."""
        leading = [each for each in self.contenders if each.term is not None]
        return self.chance.choice(leading) if leading else None


def stop_a_sidecar(world: World) -> None:
    """Faults 2 and 12: SIGSTOP, for up to one and a half terms, and SIGCONT."""
    pod = world.chance.choice(world.pods)
    pod.daemon.signal(signal.SIGSTOP)
    world.last(0.2, world.ttl * 1.5)
    pod.daemon.signal(signal.SIGCONT)


def throttle_a_sidecar(world: World) -> None:
    """Fault 12: a process that runs for a tenth of the time."""
    pod = world.chance.choice(world.pods)
    for _ in range(20):
        pod.daemon.signal(signal.SIGSTOP)
        world.stopped.wait(0.18)
        pod.daemon.signal(signal.SIGCONT)
        world.stopped.wait(0.02)


def crash_a_sidecar(world: World) -> None:
    """Fault 17: SIGKILL, and a new process."""
    pod = world.chance.choice(world.pods)
    pod.daemon.close()
    pod.start()


def silence_a_network(world: World) -> None:
    """Fault 3: packets are lost, both ways or one."""
    proxy = world.chance.choice(world.pods).proxy
    ways = world.chance.choice([(Way.TO_SERVER,), (Way.FROM_SERVER,), (Way.TO_SERVER, Way.FROM_SERVER)])
    world.network.call(proxy.silence, *ways)
    world.last(0.5, world.ttl * 1.5)
    world.network.call(proxy.heal)


def cut_a_network(world: World) -> None:
    """Fault 3: connections are reset, and refused for a while."""
    proxy = world.chance.choice(world.pods).proxy
    world.network.call(proxy.refuse)
    world.last(0.0, world.ttl)
    world.network.call(proxy.heal)


def cut_in_an_answer(world: World) -> None:
    """Fault 3: everything ends after some more bytes of PostgreSQL's: a commit whose answer is lost."""
    proxy = world.chance.choice(world.pods).proxy
    world.network.call(proxy.cut_after, world.chance.randrange(400), Way.FROM_SERVER)
    world.last(0.5, 2.0)
    world.network.call(proxy.heal)


def slow_a_network(world: World) -> None:
    """Fault 22: answers come late, some of them after trust."""
    proxy = world.chance.choice(world.pods).proxy
    world.network.call(proxy.delay, world.chance.uniform(0.05, 0.6))
    world.last(1.0, world.ttl)
    world.network.call(proxy.heal)


def restart_postgresql(world: World) -> None:
    """Fault 4."""
    world.postgres.restart(world.chance.choice([StopMode.FAST, StopMode.IMMEDIATE]))


def crash_postgresql(world: World) -> None:
    """Fault 4, by SIGKILL."""
    world.postgres.crash()


def leave_postgresql_down(world: World) -> None:
    """Fault 4, for longer than a term at times."""
    world.postgres.stop(StopMode.IMMEDIATE)
    world.last(0.1, world.ttl * 1.5)
    world.postgres.start()


def end_the_lease_connections(world: World) -> None:
    """Fault 3, from the server's end."""
    with world.postgres.connect() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'poolguard-lease'"
        )


def write_no_more(world: World) -> None:
    """Fault 7: a server that turns read-only and leaves its sockets open."""
    with world.postgres.connect() as admin:
        admin.execute("SET default_transaction_read_only = off")
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        world.last(0.5, world.ttl)
        admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        admin.execute("SELECT pg_reload_conf()")


def lock_a_row(world: World) -> None:
    """Fault 16: somebody holds rows FOR UPDATE, past the end of their terms at times."""
    with world.postgres.connect() as other, other.transaction():
        other.execute("SELECT FROM poolguard.lease ORDER BY random() LIMIT 2 FOR UPDATE")
        world.last(0.5, world.ttl * 1.2)


def crash_a_leader(world: World) -> None:
    """Fault 18: the application dies, its sidecar does not."""
    leader = world.leader()
    if leader is not None:
        leader.forget()


def let_leaders_resign(world: World) -> None:
    """Fault 15: releases race takeovers."""
    for contender in world.contenders:
        if contender.term is not None:
            contender.resign()


def force_a_release(world: World) -> None:
    """Fault 24."""
    leader = world.leader()
    term = leader.term if leader is not None else None
    if term is None:
        return
    world.history.note(Forced(name=term.name, token=term.token, at=boottime()))
    with LeaseClient(world.chance.choice(world.pods).url, admin_token=ADMIN_TOKEN) as admin:
        try:
            admin.force_release(term.name)
        except PoolguardError:
            return  # it had just ended


FAULTS: Final[Sequence[Callable[[World], None]]] = (
    stop_a_sidecar,
    throttle_a_sidecar,
    crash_a_sidecar,
    silence_a_network,
    cut_a_network,
    cut_in_an_answer,
    slow_a_network,
    restart_postgresql,
    crash_postgresql,
    leave_postgresql_down,
    end_the_lease_connections,
    write_no_more,
    lock_a_row,
    crash_a_leader,
    let_leaders_resign,
    force_a_release,
)
