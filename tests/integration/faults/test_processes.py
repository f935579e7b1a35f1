"""Processes that stop, crawl, die and come in twos: faults 1, 2, 12, 13, 17, 24."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from poolguard.client import LeaseClient, Term
from poolguard.core.errors import LeaseHeld, LeaseLost, LeaseUnavailable, PoolguardError
from tests.support.eventually import eventually
from tests.support.history import Forced, Stopped, boottime
from tests.support.recorder import Recorder
from tests.support.scene import ADMIN_TOKEN, TTL, Scene

HOLDER = """
import signal, sys
from poolguard.client import LeaseClient
client = LeaseClient(sys.argv[1])
term = client.acquire("a", holder="stopped", ttl_seconds=2)
print(term.token, flush=True)
sys.stdin.readline()
print(term.trusted, flush=True)
try:
    client.renew(term)
except Exception as error:
    print(type(error).__name__, flush=True)
"""


@contextmanager
def holding_process(url: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_fault_1_a_holder_that_was_suspended_finds_its_term_over_and_its_writes_refused(scene: Scene) -> None:
    pod = scene.pod()
    with holding_process(pod.url) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        token = int(process.stdout.readline())
        old = Term(name="a", holder="stopped", token=token, ttl_seconds=TTL, trusted_until=0.0)
        assert scene.write(old)
        process.send_signal(signal.SIGSTOP)
        new = scene.elected(scene.holder(pod))
        assert new.token > token
        assert scene.write(new)
        process.send_signal(signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "False\n", "it trusted its term after the suspend"
        assert process.stdout.readline() == "LeaseLost\n"
        assert not scene.write(old)
    scene.judge()


def test_fault_2_a_sidecar_that_was_suspended_says_no_before_it_asks(scene: Scene) -> None:
    suspended, other = scene.pod(), scene.pod()
    holder = scene.holder(suspended)
    term = scene.elected(holder)
    assert holder.leader("a") == term.token
    suspended.daemon.signal(signal.SIGSTOP)
    scene.elected(scene.holder(other))
    suspended.daemon.signal(signal.SIGCONT)
    assert holder.leader("a") is None
    with pytest.raises(LeaseLost):
        holder.renew(term)
    scene.judge()


def test_fault_12_a_sidecar_that_gets_a_fifth_of_the_time_keeps_its_lease(scene: Scene) -> None:
    pod = scene.pod()
    holder = scene.holder(pod)
    term = scene.elected(holder, ttl=4.0)
    rested, crawling = threading.Event(), threading.Event()

    def throttle() -> None:
        while not rested.is_set():
            pod.daemon.signal(signal.SIGSTOP)
            rested.wait(0.04)
            pod.daemon.signal(signal.SIGCONT)
            crawling.set()
            rested.wait(0.01)

    throttling = threading.Thread(target=throttle)
    throttling.start()
    try:
        assert crawling.wait(10)
        for _ in range(20):
            term = holder.renew(term)
            assert term.trusted
            assert holder.leader("a") == term.token
    finally:
        rested.set()
        throttling.join(10)
    scene.judge()


def stand(holder: Recorder, name: str, barrier: threading.Barrier, got: list[Term | PoolguardError]) -> None:
    """Acquire *name* in the same moment as others."""
    barrier.wait()
    try:
        got.append(holder.acquire(name, ttl=30.0, request_id=str(uuid4())))
    except PoolguardError as error:
        got.append(error)


def test_fault_13_two_sidecars_with_the_same_holder_never_both_hold(scene: Scene) -> None:
    holders = [scene.holder(scene.pod(), "pod-1") for _ in range(2)]
    for number in range(20):
        barrier = threading.Barrier(2)
        got: list[Term | PoolguardError] = []

        threads = [threading.Thread(target=stand, args=(each, f"n{number}", barrier, got)) for each in holders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(type(each).__name__ for each in got) == ["LeaseHeld", "Term"], got
    scene.judge()


def test_fault_13_an_old_pod_that_ends_does_not_end_the_term_of_the_new_one(scene: Scene) -> None:
    old, new = scene.holder(scene.pod(), "web-0"), scene.holder(scene.pod(), "web-0")
    first = scene.elected(old)
    with pytest.raises(LeaseHeld):
        new.acquire("a", ttl=TTL, request_id="new")
    old.release(first)
    second = scene.elected(new)
    assert second.token > first.token
    with pytest.raises(LeaseLost):
        old.release(first)
    with pytest.raises(LeaseLost):
        old.renew(first)
    assert new.renew(second).trusted
    scene.judge()


def test_fault_17_a_sidecar_that_crashes_takes_its_trust_along(scene: Scene) -> None:
    pod = scene.pod()
    holder = scene.holder(pod)
    term = scene.elected(holder)
    pod.daemon.close()
    with pytest.raises(LeaseUnavailable):
        holder.renew(term)
    assert holder.leader("a") is None
    pod.start()
    scene.healed()
    # The new process knows nothing of the term, though it still runs: it trusts nothing that it did not confirm.
    assert holder.leader("a") is None
    scene.history.note(Stopped(name="a", token=term.token, at=boottime()))
    assert scene.elected(holder).token > term.token
    scene.judge()


def test_fault_24_a_holder_whose_lease_is_released_by_force_is_fenced_and_told(scene: Scene) -> None:
    pod = scene.pod()
    holder, other = scene.holder(pod, "worker"), scene.holder(pod)
    term = scene.elected(holder, ttl=30.0)
    assert scene.write(term)
    scene.history.note(Forced(name="a", token=term.token, at=boottime()))
    with LeaseClient(pod.url, admin_token=ADMIN_TOKEN) as admin:
        admin.force_release("a", actor="alice", reason="it hangs")
    assert holder.leader("a") is None
    following = scene.elected(other, within=5.0)
    assert scene.write(following)
    assert not scene.write(term)
    with pytest.raises(LeaseLost):
        holder.renew(term)
    (told,) = pod.daemon.get("/v1/incidents")["incidents"]
    assert (told["kind"], told["outcome"], told["reason"]) == ("lease", "done", "it hangs")
    assert told["actor"] == "alice (127.0.0.1)"
    assert (told["term"]["lease"], told["term"]["holder"], told["term"]["token"]) == ("a", "worker", term.token)
    (logged,) = eventually(lambda: pod.daemon.logged("a lease's term was ended by force"))
    assert logged["incident_id"] == told["id"]
    scene.judge()
