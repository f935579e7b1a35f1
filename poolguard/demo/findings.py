"""What the demo wanted to see, against what it saw. Pure: facts in, checks out."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from poolguard.demo.clients import Refusal, Wait
from poolguard.demo.heartbeat import Beats
from poolguard.demo.scene import LEASE_TTL_SECONDS, WAITING
from poolguard.demo.screen import Check

LATEST_SECONDS: Final = 1.0
"""A rollback later than this after its threshold counts as not seen. The promise is 0.2 s; a busy machine gets more."""

IDLE_TRANSACTION_ENDED: Final = "25P03"
TOO_MANY_CONNECTIONS: Final = "53300"


def exhausted(pools: Sequence[Mapping[str, Any]]) -> Check:
    """Every server of every pool is held."""
    full = all(pool["held"] == pool["size"] and not pool["idle"] for pool in pools)
    seen = ", ".join(f"{pool['name']} {pool['held']}/{pool['size']}" for pool in pools)
    return Check("leaks exhaust the pools", f"held: {seen}", full)


def queue_is_seen(queue: Sequence[Mapping[str, Any]]) -> Check:
    """/v1/sessions names those who wait."""
    names = sorted(str(session["application_name"]) for session in queue)
    return Check("who waits is shown", ", ".join(names) or "nobody", names == sorted(WAITING.values()))


def holder_is_named(wait: Wait, holder: str) -> Check:
    """A wait in vain ends with 53300, and the message names the application that holds the servers."""
    error = wait.refusal
    if error is None:
        return Check("a wait in vain names the holder", "the wait was not in vain", good=False)
    good = error.sqlstate == TOO_MANY_CONNECTIONS and holder in error.message and "query_wait_timeout" in error.message
    named = f"names {holder}" if holder in error.message else "does not name the holder"
    return Check("a wait in vain names the holder", f"{error.sqlstate} after {wait.seconds:.1f} s, {named}", good)


def all_rolled_back(incidents: Sequence[Mapping[str, Any]], backends: set[int]) -> Check:
    """Each leak was rolled back, in time, and none twice."""
    ended = [int(incident["transaction"]["backend_pid"]) for incident in incidents]
    late = max((_late(incident) for incident in incidents), default=0.0)
    good = sorted(ended) == sorted(backends) and late <= LATEST_SECONDS
    return Check(
        "the guard rolls the leaks back",
        f"{len(set(ended) & backends)} of {len(backends)}, at most {late * 1000:.0f} ms past the threshold",
        good,
    )


def _late(incident: Mapping[str, Any]) -> float:
    threshold = incident["threshold"]
    decided = float(threshold["actual_seconds"]) - float(threshold["limit_seconds"])
    return decided + float(incident["outcome_seconds"])


def all_logged(logged: int, incidents: int) -> Check:
    """The JSON log tells of each incident."""
    return Check("each incident is logged", f"{logged} of {incidents}", 0 < incidents == logged)


def waiter_was_served(wait: Wait, backends: set[int]) -> Check:
    """Who waited long enough got one of the servers that the leaks had held."""
    wanted = "a patient waiter is served"
    if wait.refusal is not None:
        return Check(wanted, f"{wait.refusal.sqlstate}: {wait.refusal.message}", good=False)
    same = "a backend that leaked before" if wait.backend_pid in backends else "a new backend"
    return Check(wanted, f"after {wait.seconds:.1f} s, by {same}", wait.backend_pid in backends)


def next_statement_failed(errors: Sequence[Refusal | None]) -> Check:
    """The next statement of each rolled back session got 25P03."""
    right = sum(error is not None and error.sqlstate == IDLE_TRANSACTION_ENDED for error in errors)
    return Check("its next statement gets 25P03", f"{right} of {len(errors)}", 0 < len(errors) == right)


def commit_failed(errors: Sequence[Refusal | None], committed: int) -> Check:
    """No COMMIT of a rolled back transaction succeeded, and nothing of it is in the table."""
    right = sum(error is not None and error.sqlstate == IDLE_TRANSACTION_ENDED for error in errors)
    return Check(
        "its COMMIT is refused",
        f"{right} of {len(errors)}; {committed} of the forgotten updates in the table",
        0 < len(errors) == right and committed == 0,
    )


def sessions_live_on(alive: int, sessions: int) -> Check:
    """After ROLLBACK the sessions serve on; nobody had to connect again."""
    return Check("the session lives on after ROLLBACK", f"{alive} of {sessions}", 0 < sessions == alive)


def same_backends(pool: str, before: set[int], after: set[int]) -> Check:
    """The pool's servers are the ones that it had."""
    if before == after:
        seen = f"all {len(after)} backends are the ones from before"
    else:
        seen = f"{len(before & after)} of {len(before)} backends are the ones from before"
    return Check(f"{pool} serves on the same backends", seen, bool(before) and before == after)


def lease_was_kept(beats: Beats) -> Check:
    """Every renewal was answered with the same term, and none came so late that the lease could have been lost."""
    missed = f", {len(beats.missed)} missed ({beats.missed[0]})" if beats.missed else ", none missed"
    return Check(
        "the lease is renewed all the while",
        f"{beats.renewed} renewals{missed}; median {beats.median_seconds * 1000:.1f} ms, "
        f"worst {beats.worst_seconds * 1000:.1f} ms",
        beats.renewed > 0 and not beats.missed and beats.longest_gap_seconds < LEASE_TTL_SECONDS,
    )


def ended_well(exit_code: int) -> Check:
    """SIGTERM drains it."""
    return Check("SIGTERM drains poolguard", f"exit code {exit_code}", exit_code == 0)
