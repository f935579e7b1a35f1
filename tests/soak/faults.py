"""Contenders under random faults; afterwards their history is judged."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import psycopg

from poolguard.client import Term
from poolguard.demo.postgres import EmbeddedPostgres
from tests.soak.stage import Pod, pods, postgres
from tests.soak.trouble import FAULTS, World
from tests.soak.verdict import Figure, Part
from tests.support.history import Event, Granted, Healed, History, Lost, Renewed, Shown, Wrote, boottime
from tests.support.invariants import beliefs, of, violations
from tests.support.network import Network
from tests.support.recorder import Contender, Recorder

TTL: Final = 4.0
NAMES: Final = 5
PODS: Final = 4
SHOWN_EVERY_SECONDS: Final = 0.1

_TABLE: Final = """
CREATE TABLE written (name text NOT NULL, token bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())
"""
_FENCED: Final = """
WITH fence AS (
  SELECT name, token FROM poolguard.lease
   WHERE name = %s AND token = %s AND expires_at > clock_timestamp() FOR KEY SHARE
) INSERT INTO written (name, token) SELECT name, token FROM fence
"""
_IN_ORDER: Final = """
SELECT name, token, row_number() OVER (ORDER BY pg_xact_commit_timestamp(xmin), at) FROM written
"""


class Writer:
    """Writes what leaders write: fenced, and now and then so slowly that the term may end meanwhile."""

    def __init__(self, url: str, chance: random.Random) -> None:
        self._url: Final = url
        self._chance: Final = chance

    def __call__(self, term: Term) -> None:
        """One fenced transaction; that PostgreSQL is away is no news here."""
        pause = self._chance.choice([0.0, 0.0, 0.0, 0.5])
        try:
            with psycopg.connect(self._url, connect_timeout=2) as connection:
                connection.execute("SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '3s'")
                connection.execute(_FENCED, [term.name, term.token])
                if pause:
                    connection.execute("SELECT pg_sleep(%s)", [pause])
        except psycopg.Error:
            return


def run(seconds: float, seed: int, say: Callable[[str], None]) -> Part:
    """Play for *seconds*; judge."""
    part = Part("faults")
    history = History()
    chance = random.Random(seed)
    happened: Counter[str] = Counter()
    with ExitStack() as stack:
        running = stack.enter_context(postgres())
        network = Network()
        stack.callback(network.close)
        sidecars = stack.enter_context(pods(running, network, PODS))
        with running.connect() as admin:
            admin.execute(_TABLE)
        contenders = stack.enter_context(standing(running, sidecars, history, seed))
        stack.enter_context(watched(sidecars, history))
        world = World(running, network, sidecars, contenders, history, chance, TTL, threading.Event())
        began = boottime()
        _standing(world)
        while boottime() - began < seconds:
            fault = chance.choice(FAULTS)
            happened[fault.__name__] += 1
            say(f"{boottime() - began:6.0f} s  {fault.__name__.replace('_', ' ')}")
            fault(world)
            _healed(world)
        lasted = boottime() - began
        with running.connect() as admin:
            history.events += [
                Wrote(name=str(name), token=int(str(token)), order=int(str(order)))
                for name, token, order in admin.execute(_IN_ORDER)
            ]
    events = list(history)
    part.broken += [str(each) for each in violations(events)]
    part.figures += _figures(events, began, lasted, happened)
    return part


def _healed(world: World) -> None:
    """A fault is over: each name must have a leader within a term and a second. Nothing else happens meanwhile."""
    at, within = boottime(), TTL + 1.0
    world.stopped.wait(within)
    _judge_from(world, at, within)


def _standing(world: World) -> None:
    """Nothing has happened yet: go on when each name has its first leader."""
    at, within = boottime(), TTL + 1.0
    names = {each.lease for each in world.contenders}
    while {each.name for each in of(list(world.history), Granted)} < names and boottime() < at + within:
        world.stopped.wait(0.05)
    _judge_from(world, at, within)


def _judge_from(world: World, at: float, within: float) -> None:
    for name in sorted({each.lease for each in world.contenders}):
        world.history.note(Healed(name=name, at=at, within=within))


@contextmanager
def standing(
    running: EmbeddedPostgres, sidecars: Sequence[Pod], history: History, seed: int
) -> Iterator[list[Contender]]:
    """One contender for each name at each sidecar."""
    made = [
        Contender(
            pod.url,
            f"lease-{number}",
            f"{pod.name}/{number}",
            history,
            ttl=TTL,
            while_leading=Writer(running.url, random.Random(f"{seed} {pod.name} {number}")),
        )
        for pod in sidecars
        for number in range(NAMES)
    ]
    for contender in made:
        contender.start()
    try:
        yield made
    finally:
        for contender in made:
            contender.end()
        for contender in made:
            contender.join(30)


@contextmanager
def watched(sidecars: Sequence[Pod], history: History) -> Iterator[None]:
    """Ask every sidecar's /leader about every name, all the time."""
    finished = threading.Event()

    def watch(pod: Pod) -> None:
        recorder = Recorder(pod.url, "watcher", history)
        while not finished.wait(SHOWN_EVERY_SECONDS):
            for number in range(NAMES):
                recorder.leader(f"lease-{number}")
        recorder.close()

    threads = [threading.Thread(target=watch, args=(pod,), daemon=True) for pod in sidecars]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        finished.set()
        for thread in threads:
            thread.join(30)


def _figures(events: Sequence[Event], began: float, lasted: float, happened: Counter[str]) -> list[Figure]:
    terms = {(each.name, each.token) for each in of(events, Granted)}
    ended = began + lasted
    led = sum(max(0.0, min(each.end, ended) - max(each.begin, began)) for each in beliefs(events))
    return [
        Figure("contenders", NAMES * PODS),
        Figure("names", NAMES),
        Figure("length", lasted, "s"),
        Figure("faults", happened.total(), least=1),
        *(Figure(f"  {name.replace('_', ' ')}", number) for name, number in sorted(happened.items())),
        Figure("terms", len(terms), least=NAMES),
        Figure("renewals", len(of(events, Renewed))),
        Figure("terms lost", len(of(events, Lost))),
        Figure("answers of /leader", len(of(events, Shown))),
        Figure("fenced writes", len(of(events, Wrote))),
        Figure("heals judged", len(of(events, Healed))),
        Figure("share of time with a leader", led / (lasted * NAMES) if lasted else 0.0),
    ]
