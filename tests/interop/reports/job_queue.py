"""Report (d): Laravel's database queue with sixteen workers; laravel/framework#7046, #25052, #31287, #59199.

Laravel asks PostgreSQL's version and pops with SKIP LOCKED where that is there. Whoever tells it an older version brings the
blocking FOR UPDATE back, and with it queues of workers at one row, and deadlocks.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from poolguard.demo.screen import Tone
from tests.interop.reports.application import Application
from tests.interop.reports.stage import Stage, culprit, lines, of_party
from tests.interop.toolchains import Laravel
from tests.support.eventually import eventually

WORKERS: Final = 16
JOBS: Final = 240
SCHEMA: Final = """
CREATE TABLE jobs (
    id bigserial PRIMARY KEY, queue varchar(255) NOT NULL, payload text NOT NULL, attempts smallint NOT NULL,
    reserved_at int, available_at int NOT NULL, created_at int NOT NULL);
CREATE INDEX ON jobs (queue);
CREATE TABLE done (number int NOT NULL, worker int NOT NULL);
-- A deadlock of sixteen workers is undone one by one: nobody needs to watch that for long.
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''100ms''', current_database()); END $$;
"""


def play(stage: Stage) -> None:
    """Blocking pops; the same in a lane; SKIP LOCKED on a small pool; a pop that hangs; a pop that finds no server; SET search_path."""
    stage.set_up(SCHEMA)
    _blocking(stage)
    _laned(stage)
    _skip_locked(stage)
    _spared(stage)
    _refused(stage)
    _learnt(stage)


def _php(stage: Stage, role: str, *, pool: str = "jobs", name: str = "laravel-worker", **environ: str) -> Application:
    return stage.start(Laravel(), "laravel_queue.php", pool=pool, name=name, ROLE=role, NAME=name, **environ)


def _push(stage: Stage, jobs: int) -> None:
    stage.admin.execute("TRUNCATE jobs, done")
    with _php(stage, "push", JOBS=str(jobs), name="laravel-web") as web:
        web.told("pushed")


def _blocking(stage: Stage) -> None:
    stage.act("1. Sixteen workers are told that PostgreSQL is 9.4, as by a proxy that makes the version up")
    slow, workers = _one_stands_still(stage, "wide")
    eventually(lambda: _hanging(stage) == len(workers), within=15)
    tree = eventually(lambda: _tree(stage), within=10)
    stage.quote("/v1/locks?format=text", "\n".join(tree.splitlines()[:4]))
    stage.claim(
        "the workers queue up at one row", f"{_hanging(stage)} wait", "laravel-slow" in tree and "blocks 15" in tree
    )
    moving = _move_jobs(stage, "wide")
    eventually(lambda: _hanging(stage) == len(workers) + 1, within=10)
    told = _what_they_were_told(slow, workers, moving)
    stage.tell(
        "laravel", f"{len(told)} times, to workers and to whoever moves jobs: {told[0].splitlines()[0]}", Tone.BAD
    )
    deadlocks = stage.incidents(kind="deadlock")
    # Workers meet each other too, in as many of the deadlocks as chance has it.
    shown = max(deadlocks, key=lambda one: "artisan-tinker" in _names(one))
    stage.quote("/v1/incidents, kind deadlock", lines([*map(of_party, shown["holders"]), shown["advice"]]))
    names = {name for deadlock in deadlocks for name in _names(deadlock)}
    stage.claim("and deadlock", f"{len(told)} times", all("deadlock detected" in text for text in told))
    stage.claim("each is an incident", f"{len(deadlocks)}", len(deadlocks) == len(told))
    pops = all(any("for update" in party["fingerprints"][-1]["text"] for party in one["holders"]) for one in deadlocks)
    met = {"artisan-tinker", "laravel-worker"} <= names
    stage.claim("that names who met, and the pop", ", ".join(sorted(names)), pops and met)


def _names(deadlock: Mapping[str, Any]) -> set[str]:
    return {party["application_name"] for party in deadlock["holders"]}


def _laned(stage: Stage) -> None:
    stage.act("2. The same, with a lane for whoever locks jobs")
    deadlocks = stage.daemon.metric("poolguard_deadlocks_total")
    slow, workers = _one_stands_still(stage, "laned")
    moving = _move_jobs(stage, "laned")
    eventually(lambda: _in_lane(stage) == WORKERS, within=15)
    hanging, held = _hanging(stage), stage.daemon.pool("laned")["held"]
    waiting = stage.daemon.metric("poolguard_lane_waiting", pool="laned", lane="jobs")
    stage.quote("/metrics", f'poolguard_lane_waiting{{lane="jobs",pool="laned"}} {waiting:g}')
    stage.claim(
        "nobody waits in PostgreSQL, or holds a server", f"{hanging} wait, {held} held", (hanging, held) == (0, 1)
    )
    told = _what_they_were_told(slow, workers, moving)
    same = stage.daemon.metric("poolguard_deadlocks_total") == deadlocks
    stage.tell("laravel", told[0] if told else "no worker was told of an error", Tone.BAD if told else Tone.GOOD)
    stage.claim("no deadlock, no error", f"{len(told)} errors", same and not told)


def _one_stands_still(stage: Stage, pool: str) -> tuple[Application, list[Application]]:
    """One worker stands still in the middle of a pop, fifteen others pop too."""
    _push(stage, 2)
    # The older job was moved to another queue and back: it lies behind the younger one, where an UPDATE comes to it later.
    for queue in ("later", "default"):
        stage.admin.execute("UPDATE jobs SET queue = %s WHERE id = (SELECT min(id) FROM jobs)", [queue])
    slow = _php(stage, "hang", pool=pool, name="laravel-slow", VERSION="9.4")
    workers = [_php(stage, "work", pool=pool, VERSION="9.4") for _ in range(WORKERS - 1)]
    for worker in (slow, *workers):
        worker.told("ready")
    slow.go_on()
    slow.told("inside")
    for worker in workers:
        worker.go_on()
    return slow, workers


def _move_jobs(stage: Stage, pool: str) -> Callable[[], BaseException | None]:
    artisan = stage.connect(pool, "artisan-tinker")
    return stage.in_background(lambda: artisan.execute("UPDATE jobs SET queue = 'low' WHERE queue = 'default'"))


def _what_they_were_told(
    slow: Application, workers: list[Application], moving: Callable[[], BaseException | None]
) -> list[str]:
    """The errors of all, when the one that stood still goes on."""
    slow.go_on()
    moved = moving()
    ended = [worker.told("ended") for worker in (slow, *workers)]
    for worker in (slow, *workers):
        worker.end()
    return [text for one in ended for text in one["reported"]] + ([str(moved)] if moved else [])


def _in_lane(stage: Stage) -> int:
    return int(stage.daemon.get("/v1/sessions?pool=laned&state=waiting_in_lane")["total"])


def _hanging(stage: Stage) -> int:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return int(stage.value(waiting))


def _tree(stage: Stage) -> str:
    text = stage.daemon.ask("GET", "/v1/locks?format=text").text
    assert "blocks 15" in text, text
    return text


def _skip_locked(stage: Stage) -> None:
    stage.act(f"3. Laravel asks for the version itself; {WORKERS} workers, {JOBS} jobs, four servers")
    _push(stage, JOBS)
    deadlocks = stage.daemon.metric("poolguard_deadlocks_total")
    workers = [_php(stage, "work") for _ in range(WORKERS)]
    for worker in workers:
        worker.told("ready")
    for worker in workers:
        worker.go_on()
    ended = [worker.told("ended") for worker in workers]
    pops = {one["pop"].rpartition(" limit 1 ")[2] for one in ended}
    stage.tell("laravel", f"every worker pops with {', '.join(pops)}", Tone.GOOD)
    stage.claim("SKIP LOCKED is chosen through poolguard", ", ".join(pops), pops == {"FOR UPDATE SKIP LOCKED"})
    done = stage.value("SELECT count(*) FROM done")
    distinct = stage.value("SELECT count(DISTINCT number) FROM done")
    left = stage.value("SELECT count(*) FROM jobs")
    seen = (
        f"{distinct} of {JOBS} done, {done - distinct} twice, {left} left, {sum(one['failed'] for one in ended)} failed"
    )
    stage.tell("laravel", seen, Tone.GOOD)
    whole = (distinct, done, left) == (JOBS, JOBS, 0)
    stage.claim(
        "each job is done once, none fails", seen, whole and not any(one["failed"] or one["reported"] for one in ended)
    )
    pool = stage.daemon.pool("jobs")
    stage.quote(
        "/v1/pools/jobs",
        f"size {pool['size']}, pinned {pool['pinned']}, wait_timeouts_total {pool['wait_timeouts_total']}",
    )
    stage.claim(
        "on four servers, without a pin", pool["opened_total"], pool["pinned"] == 0 and pool["opened_total"] <= 4
    )
    same = stage.daemon.metric("poolguard_deadlocks_total") == deadlocks
    stage.claim("no deadlock", "none" if same else "some", same)
    for worker in workers:
        worker.end()


def _spared(stage: Stage) -> None:
    stage.act("4. A worker stands still in the middle of a pop, past the guard's limit")
    _push(stage, 1)
    with _php(stage, "hang", name="laravel-slow") as slow:
        slow.told("ready")
        slow.go_on()
        slow.told("inside")
        (spared, *_) = stage.incidents(outcome="spared", application="laravel-slow", action="rollback")
        stage.quote("/v1/incidents, outcome spared", lines([f"spared_by {spared['spared_by']}", culprit(spared)]))
        slow.go_on()
        ended = slow.told("ended")
    stage.claim("a job that was just taken is not ended", spared["spared_by"], spared["spared_by"] == "job_pop")
    _done_once(stage, ended, "and is done")


def _refused(stage: Stage) -> None:
    stage.act("5. A worker wants a job, and the pool has no server for half a second")
    _push(stage, 1)
    stage.change_settings("rollback: 1s, ", "")
    stage.change_settings("size: 4, wait_timeout: 2s", "size: 4, wait_timeout: 500ms")
    leaks = [stage.connect("jobs", "laravel-report") for _ in range(4)]
    for leak in leaks:
        leak.execute("BEGIN")
        leak.execute("SELECT count(*) FROM done /*route='report%3Anightly'*/")
    with _php(stage, "work") as worker:
        worker.told("ready")
        worker.go_on()
        ended = worker.told("ended")
    reported = ended["reported"][0]
    stage.tell("laravel", f"the worker reports: {reported.partition(' (SQL')[0]}", Tone.BAD)
    attempts = stage.value("SELECT attempts FROM jobs WHERE reserved_at IS NULL")
    stage.claim("the pop is refused before it begins", "query_wait_timeout", "query_wait_timeout" in reported)
    stage.claim("so the job is untouched", f"{attempts} attempts", attempts == 0 and not ended["failed"])
    (starved, *_) = stage.incidents(kind="starvation", pool="jobs")
    stage.quote("/v1/incidents, kind starvation", lines([of_party(starved["holders"][0]), starved["advice"]]))
    route = starved["holders"][0]["tags"].get("route")
    stage.claim("and the incident names who has the servers", route, route == "report:nightly")
    for leak in leaks:
        leak.execute("ROLLBACK")
    with _php(stage, "work") as worker:
        worker.told("ready")
        worker.go_on()
        _done_once(stage, worker.told("ended"), "the next worker does it")


def _learnt(stage: Stage) -> None:
    stage.act("6. search_path stands in config/database.php, as in every new application: five workers, four servers")
    _push(stage, JOBS)
    before = stage.daemon.pool("jobs")
    workers = [_php(stage, "work", SCHEMA="public") for _ in range(5)]
    for worker in workers:
        worker.told("ready")
        worker.go_on()
    ended = [worker.told("ended") for worker in workers]
    done = stage.value("SELECT count(DISTINCT number) FROM done")
    told = sum(len(one["reported"]) for one in ended)
    seen = f"{done} of {JOBS} done, {told} errors"
    stage.tell("laravel", seen, Tone.GOOD)
    stage.claim("all five work", seen, (done, told) == (JOBS, 0))
    pool = stage.daemon.pool("jobs")
    in_vain = pool["wait_timeouts_total"] - before["wait_timeouts_total"]
    stage.quote("/v1/pools/jobs", f"size {pool['size']}, pinned {pool['pinned']}, waits in vain {in_vain}")
    stage.claim("no SET search_path keeps a server", f"{pool['pinned']} pinned", (pool["pinned"], in_vain) == (0, 0))
    pins = stage.daemon.metric("poolguard_pins_total", pool="jobs", reason="path")
    stage.claim("and none is counted as a pin", f"{pins:g}", not pins)
    for worker in workers:
        worker.end()


def _done_once(stage: Stage, ended: dict[str, Any], wanted: str) -> None:
    done = stage.value("SELECT count(*) FROM done")
    seen = f"{done} done, {ended['failed']} failed"
    stage.claim(wanted, seen, (done, ended["failed"], ended["reported"]) == (1, 0, []))
