"""Followers, applications that die, and news that do not come: faults 18, 23, 25; and what an attempt in vain costs."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest

from poolguard.client import LeaseClient, Term
from poolguard.core.errors import LeaseHeld, PoolguardError
from tests.support.daemon import Web
from tests.support.eventually import eventually
from tests.support.history import Beaten, Stopped, boottime
from tests.support.scene import TTL, Scene

_WRITTEN = "SELECT pg_current_wal_insert_lsn() - '0/0'"


def test_invariant_9_attempts_in_vain_write_nothing(scene: Scene) -> None:
    """WAL is the server's, so that it counts only while nobody else writes: the quietest of some tries tells."""
    pod = scene.pod()
    holder, other = scene.holder(pod), scene.holder(scene.pod())
    scene.elected(holder, ttl=60.0)
    wrote: list[int] = []
    with scene.database.connect() as admin:
        for _ in range(20):
            before = admin.execute(_WRITTEN).fetchone()
            with pytest.raises(LeaseHeld):
                other.acquire("a", ttl=60.0, request_id=str(uuid4()))
            after = admin.execute(_WRITTEN).fetchone()
            assert before is not None
            assert after is not None
            wrote.append(int(str(after[0])) - int(str(before[0])))
    scene.history.note(Beaten(name="a", sent_at=0.0, answered_at=0.0, wal_bytes=min(wrote)))
    scene.judge()


def test_fault_18_without_a_sign_of_life_poolguard_renews_no_more(scene: Scene) -> None:
    """The application dies, its sidecar does not: the campaign ends, /leader is 503 at once, the next one leads."""
    pod, other = scene.pod(), scene.pod()
    body = {"holderIdentity": "dead", "leaseDurationSeconds": 2, "livenessSeconds": 1, "requestId": "r"}
    with Web(int(pod.url.rpartition(":")[2])) as web, LeaseClient(pod.url) as watching:

        def leading() -> int | None:
            shown = web.ask("POST", "/v1/elections/a/campaign", body).json
            return int(shown["token"]) if shown["phase"] == "leading" else None

        token = eventually(leading)
        assert token is not None
        last_heard = boottime()
        following = scene.elected(scene.holder(other), within=20.0)
        assert following.token > token
        # Liveness, the rest of a term that may just have been renewed, and a second.
        assert boottime() - last_heard <= 1.0 + TTL + 1.0 + 1.0
        assert watching.leader("a") is None
        shown = web.ask("POST", "/v1/elections/a/campaign", body).json
        assert shown["phase"] != "leading"
    scene.judge()


@contextlib.contextmanager
def standing_by(scene: Scene, url: str) -> Iterator[list[Term]]:
    """A contender that waits in a thread; what it got is in the list afterwards."""
    got: list[Term] = []

    def stand() -> None:
        with LeaseClient(url) as client, client.hold("a", holder="waits", ttl_seconds=60, wait_seconds=30) as held:
            got.append(held.term)

    thread = threading.Thread(target=stand)
    thread.start()
    yield got
    thread.join(30)


@pytest.mark.parametrize("listens", [True, False], ids=["listener ended", "listening off"])
def test_fault_23_a_release_that_nobody_is_told_of_is_found_by_looking(scene: Scene, listens: bool) -> None:
    pod, other = scene.pod(), scene.pod(leases={"listen": listens})
    holder = scene.holder(pod)
    term = scene.elected(holder, ttl=3600.0)
    with standing_by(scene, other.url) as got:
        if listens:
            end_listeners(scene)
        holder.release(term)
        eventually(lambda: bool(got), within=10.0)
    assert got[0].token > term.token
    scene.judge()


def end_listeners(scene: Scene) -> None:
    """End whatever listens for releases; it may come again, and its news are lost meanwhile."""
    with scene.database.connect() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )


CONTENDERS = 200


def test_fault_25_of_200_contenders_one_wins_and_postgresql_is_not_flooded(scene: Scene) -> None:
    pods = [scene.pod(), scene.pod()]
    holder = scene.holder(pods[0])
    term = scene.elected(holder, ttl=3.0)
    scene.history.note(Stopped(name="a", token=term.token, at=boottime()))  # it dies, and nobody is told
    winners, asked = asyncio.run(_stampede([pod.url for pod in pods]))
    assert len(winners) == 1
    assert winners[0] > term.token
    # Each may be turned away once before the end, and once by whoever won.
    assert asked <= 3 * CONTENDERS
    with scene.database.connect() as admin:
        found = admin.execute("SELECT transitions FROM poolguard.lease").fetchone()
    assert found == (2,)
    scene.judge()


async def _stampede(urls: list[str]) -> tuple[list[int], int]:
    """Every contender acquires when it was told that the term ends, until one has won."""
    winners: list[int] = []
    asked = 0

    def attempt(client: LeaseClient, number: int) -> float:
        nonlocal asked
        asked += 1
        try:
            winners.append(client.acquire("a", holder=f"c{number}", ttl_seconds=60, request_id=f"r{number}").token)
        except LeaseHeld as held:
            return held.valid_for_ms / 1000
        except PoolguardError:
            return 0.2
        return 0.0

    won = asyncio.Event()

    async def contend(number: int) -> None:
        with LeaseClient(urls[number % len(urls)]) as client:
            while not won.is_set():
                pause = await asyncio.to_thread(attempt, client, number)
                if winners:
                    won.set()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(won.wait(), pause)

    await asyncio.gather(*(contend(number) for number in range(CONTENDERS)))
    return winners, asked
