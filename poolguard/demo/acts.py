"""The acts of the demo, in order: leak, wait, roll back, find out, serve again, and what the lease did meanwhile."""

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final, Self

import psycopg

from poolguard.demo import findings, told
from poolguard.demo.api import Api, ApiFailed
from poolguard.demo.clients import Leak, Refusal, Wait, all_servers_of, connect, wait_for_a_server
from poolguard.demo.heartbeat import Heartbeat
from poolguard.demo.postgres import EmbeddedPostgres
from poolguard.demo.scene import DATABASE, HOLDER, LEAKING, POOL_SIZES, ROLLBACK_SECONDS, WAIT_SECONDS, WAITING
from poolguard.demo.screen import Check, Screen, Tone
from poolguard.demo.sidecar import Sidecar, json_lines

LOOK_EVERY_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 5.0
"""How much longer than it should take the demo waits for something."""

GUARD_LOGGER: Final = "poolguard.guard"


class Acts:
    """Plays them and collects what was seen. On exit every client is gone."""

    def __init__(
        self, screen: Screen, api: Api, sidecar: Sidecar, heartbeat: Heartbeat, postgres: EmbeddedPostgres
    ) -> None:
        self._screen = screen
        self._api = api
        self._sidecar = sidecar
        self._heartbeat = heartbeat
        self._postgres = postgres
        self._leaks: list[Leak] = []
        self._waits: dict[str, Future[Wait]] = {}
        self._clients = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clients.close()

    def play(self) -> list[Check]:
        """Play all; return the checks in the order of the table."""
        waiters = self._open_waiters()
        checks = [self._leak(), *self._wait(waiters)]
        checks += [*self._roll_back(), *self._find_out(), *self._serve_again()]
        checks += [self._lease(), self._end()]
        return checks

    def _open_waiters(self) -> dict[str, psycopg.Connection[tuple[object, ...]]]:
        waiters = {}
        for pool, name in WAITING.items():
            connection = connect(self._sidecar.ports.clients, pool=pool, application_name=name)
            self._clients.callback(self._close_waiter, pool, connection)
            wait_for_a_server(connection)
            waiters[pool] = connection
        return waiters

    def _close_waiter(self, pool: str, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        # One that still waits belongs to its thread.
        if pool not in self._waits or self._waits[pool].done():
            connection.close()

    def _leak(self) -> Check:
        self._screen.title("1. Transactions leak until two pools are exhausted")
        for pool, name in LEAKING.items():
            for _ in range(POOL_SIZES[pool]):
                leak = Leak(self._sidecar.ports.clients, pool=pool, application_name=name, order=len(self._leaks) + 1)
                self._clients.callback(leak.connection.close)
                leak.begin()
                self._leaks.append(leak)
            pids = ", ".join(str(leak.backend_pid) for leak in self._leaks if leak.pool == pool)
            self._screen.say(
                pool, f"{name} began {POOL_SIZES[pool]} times, updated an order, forgot it; backends {pids}"
            )
        pools = self._pools()
        for pool in LEAKING:
            self._screen.say(pool, f"{pools[pool]['held']} of {pools[pool]['size']} servers held", Tone.BAD)
        return findings.exhausted([pools[pool] for pool in LEAKING])

    def _wait(self, waiters: dict[str, psycopg.Connection[tuple[object, ...]]]) -> list[Check]:
        self._screen.title("2. Others need a server")
        threads = ThreadPoolExecutor(len(waiters), thread_name_prefix="demo-waiter")
        # Who still waits when the demo is broken off gets its answer from the end of poolguard.
        self._clients.callback(threads.shutdown, wait=False)
        for pool, connection in waiters.items():
            self._waits[pool] = threads.submit(wait_for_a_server, connection)
        queue = self._until(self._who_waits, len(waiters), PATIENCE_SECONDS)
        for session in queue:
            self._screen.say(
                session["pool"],
                f"{session['application_name']} waits (at most {WAIT_SECONDS[session['pool']]:g} s)",
                Tone.BAD,
            )
        refused = self._became_of("app")
        if refused.refusal is not None:
            self._screen.say(
                "app",
                f"{WAITING['app']} gave up after {refused.seconds:.1f} s and was told:\n"
                f"ERROR {refused.refusal.sqlstate}: {refused.refusal.message}",
                Tone.BAD,
            )
        return [findings.queue_is_seen(queue), findings.holder_is_named(refused, LEAKING["app"])]

    def _roll_back(self) -> list[Check]:
        self._screen.title(f"3. The guard rolls back what stood idle for {ROLLBACK_SECONDS:g} s")
        wanted = {leak.backend_pid for leak in self._leaks}
        deadline = time.monotonic() + ROLLBACK_SECONDS + PATIENCE_SECONDS
        done: dict[str, dict[str, Any]] = {}
        while len(done) < len(wanted) and time.monotonic() < deadline:
            for incident in reversed(self._rollbacks()):
                if incident["id"] not in done:
                    done[incident["id"]] = incident
                    self._screen.say("guard", told.incident(incident), Tone.GOOD)
            time.sleep(LOOK_EVERY_SECONDS)
        logged = self._until(lambda: self._logged(set(done)), len(done), PATIENCE_SECONDS)
        if logged:
            self._screen.say("log", told.log_line(logged[0]), Tone.QUIET)
        served = self._became_of("jobs")
        if served.refusal is None:
            self._screen.say(
                "jobs",
                f"{WAITING['jobs']} was served after {served.seconds:.1f} s, by backend {served.backend_pid}",
                Tone.GOOD,
            )
        pids = {leak.backend_pid for leak in self._leaks if leak.pool == "jobs"}
        return [
            findings.all_rolled_back(list(done.values()), wanted),
            findings.all_logged(len(logged), len(done)),
            findings.waiter_was_served(served, pids),
        ]

    def _find_out(self) -> list[Check]:
        self._screen.title("4. The applications that forgot find out, and go on")
        answers: list[Refusal | None] = []
        commits: list[Refusal | None] = []
        alive = 0
        for number, leak in enumerate(self._leaks):
            # By turns: some go on with a statement, some commit as if all were well.
            by_commit = number % 2 == 1
            error = leak.commit() if by_commit else leak.next_statement()
            (commits if by_commit else answers).append(error)
            alive += leak.lives_on()
            if number < 2:
                says = "COMMIT" if by_commit else "next statement"
                answer = f"ERROR {error.sqlstate}: {error.message}" if error else "no error at all"
                self._screen.say(
                    leak.application_name,
                    f"{says}: {answer}",
                    Tone.GOOD if error else Tone.BAD,
                )
        self._screen.say("all", f"after ROLLBACK {alive} of {len(self._leaks)} sessions serve on", Tone.GOOD)
        with self._postgres.connect(DATABASE) as connection:
            row = connection.execute("SELECT count(*) FROM orders WHERE state <> 'new'").fetchone()
        assert row is not None, "an aggregate has one row"
        return [
            findings.next_statement_failed(answers),
            findings.commit_failed(commits, int(str(row[0]))),
            findings.sessions_live_on(alive, len(self._leaks)),
        ]

    def _serve_again(self) -> list[Check]:
        self._screen.title("5. The pools serve again, on the same backends")
        checks = []
        for pool in LEAKING:
            before = {leak.backend_pid for leak in self._leaks if leak.pool == pool}
            try:
                after = all_servers_of(self._sidecar.ports.clients, pool=pool, size=POOL_SIZES[pool])
            except psycopg.Error as error:
                self._screen.say(pool, f"does not serve: {error}", Tone.BAD)
                after = set()
            checks.append(findings.same_backends(pool, before, after))
            self._screen.say(pool, checks[-1].seen, Tone.GOOD if checks[-1].good else Tone.BAD)
        return checks

    def _lease(self) -> Check:
        check = findings.lease_was_kept(self._heartbeat.stop())
        self._screen.title("6. And the lease, all the while")
        self._screen.say(HOLDER, check.seen, Tone.GOOD if check.good else Tone.BAD)
        return check

    def _end(self) -> Check:
        self._clients.close()
        code = self._sidecar.stop()
        self._screen.say("poolguard", f"drained on SIGTERM, exit code {code}")
        return findings.ended_well(code)

    def _became_of(self, pool: str) -> Wait:
        limit = WAIT_SECONDS[pool] + PATIENCE_SECONDS
        try:
            return self._waits[pool].result(limit)
        except TimeoutError:
            return Wait(seconds=limit, backend_pid=0, refusal=Refusal(sqlstate="", message="no answer at all"))

    def _pools(self) -> dict[str, dict[str, Any]]:
        return {pool["name"]: pool for pool in self._api.get("/v1/pools")["pools"]}

    def _who_waits(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._api.get("/v1/sessions?state=waiting")["sessions"]
        return found

    def _rollbacks(self) -> list[dict[str, Any]]:
        try:
            found = self._api.get("/v1/incidents?action=rollback&outcome=done")["incidents"]
        except ApiFailed as error:
            self._screen.say("api", error.message, Tone.BAD)
            return []
        return list(found)

    def _logged(self, ids: set[str]) -> list[dict[str, Any]]:
        lines = json_lines(self._sidecar.log_text())
        told_of = [line for line in lines if str(line.get("logger", "")).startswith(GUARD_LOGGER)]
        return [line for line in told_of if any(id_ in json.dumps(line) for id_ in ids)][: len(ids)]

    def _until(self, look: Callable[[], list[dict[str, Any]]], number: int, within: float) -> list[dict[str, Any]]:
        """Look until there are *number* of them; return the last look."""
        deadline = time.monotonic() + within
        while True:
            found = look()
            if len(found) >= number or time.monotonic() >= deadline:
                return found
            time.sleep(LOOK_EVERY_SECONDS)
