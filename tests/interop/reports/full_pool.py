"""Report (b): Prisma's pool of nine runs out (P2024 of old), messages are lost; evolution-api#1060, #1065, prisma#6898.

Nine transactions wait for a webhook that never answers. Whoever comes after them waits in the application's own pool,
where nobody else can see it.
"""

from typing import Any, Final

from poolguard.demo.screen import Tone
from tests.interop.reports.application import Application
from tests.interop.reports.stage import Stage, culprit, lines, of_party
from tests.interop.toolchains import Node
from tests.support.eventually import eventually

NAME: Final = "evolution-api"
LEAKS: Final = 9
MESSAGES: Final = 12
SCHEMA: Final = """
CREATE TABLE "Message" (
    id bigserial PRIMARY KEY, key text NOT NULL UNIQUE, chat text NOT NULL, timestamp int NOT NULL, status text NOT NULL);
CREATE TABLE instance (name text PRIMARY KEY, status text NOT NULL);
INSERT INTO instance SELECT 'phone-' || n, 'new' FROM generate_series(0, 8) AS n;
"""


def play(stage: Stage) -> None:
    """A full pool inside; a full pool outside, watched; the same, guarded; what is left to the liveness probe."""
    stage.set_up(SCHEMA)
    _full_inside(stage)
    _full_outside(stage)
    _guarded(stage)


def _start(stage: Stage, prefix: str, *, most: int, wait: str) -> Application:
    return stage.start(
        Node(),
        "reports/full_pool.mjs",
        pool="app",
        name=NAME,
        PREFIX=prefix,
        MAX=str(most),
        LEAKS=str(LEAKS),
        MESSAGES=str(MESSAGES),
        WAIT_MILLISECONDS=wait,
    )


def _lost(stage: Stage, told: dict[str, Any]) -> int:
    lost = int(told["lost"])
    said = f": {told['errors'][0].strip().splitlines()[-1]}" if lost else ""
    stage.tell(NAME, f"{lost} of {told['came']} messages lost{said}", Tone.BAD if lost else Tone.GOOD)
    return lost


def _full_inside(stage: Stage) -> None:
    stage.act("1. Prisma's own pool has nine connections, and nine transactions wait for a webhook")
    with _start(stage, "inside", most=9, wait="1500") as app:
        before = app.told("before")
        stage.claim("before, no message is lost", f"{before['lost']} of {MESSAGES}", not before["lost"])
        app.told("leaked")
        app.go_on()
        lost = _lost(stage, app.told("after"))
        stage.claim("then every message is lost", f"{lost} of {MESSAGES}", lost == MESSAGES)
        pool = stage.daemon.pool("app")
        stage.claim("and nobody waits where one could see it", f"waiting: {pool['waiting']}", pool["waiting"] == 0)

        client = eventually(lambda: _plateau(stage), within=5)
        stage.quote(
            f"/v1/clients?application_name={NAME}",
            f"sessions {client['sessions']} (most ever {client['most_sessions']}), busy {client['busy']}, "
            f"full for {client['full_seconds']:.1f} s, {client['states']}",
        )
        probe = stage.daemon.probe(f"/livez/clients/{NAME}?full=100ms")
        stage.quote(f"/livez/clients/{NAME}?full=100ms", f"{probe.status} {probe.json['why'][0]}")
        stage.claim("poolguard sees that the application's pool is full", probe.status, probe.status == 503)
        (would, *_) = stage.incidents(number=LEAKS, action="rollback", outcome="observed", pool="app")
        stage.quote("/v1/incidents, outcome observed", lines([culprit(would), would["advice"]]))
        route = would["transaction"]["tags"].get("route")
        text = would["transaction"]["fingerprints"][-1]["text"]
        stage.claim("and whose transactions fill it", route, route == "/instance/connect" and '"instance"' in text)


def _plateau(stage: Stage) -> dict[str, Any]:
    client = stage.client(NAME, sessions=LEAKS, busy=LEAKS)
    assert client["full_seconds"] > 0.1, client
    return client


def _full_outside(stage: Stage) -> None:
    stage.act("2. Prisma's pool is larger than poolguard's: the queue is where it is seen")
    with _start(stage, "outside", most=30, wait="15000") as app:
        app.told("before")
        app.told("leaked")
        # They stand for a while before somebody needs a server, as leaks do.
        stage.incidents(number=2 * LEAKS, action="rollback", outcome="observed")
        app.go_on()
        lost = _lost(stage, app.told("after"))
        stage.claim("the messages are still lost", f"{lost} of {MESSAGES}", lost == MESSAGES)
    (starved, *_) = stage.incidents(kind="starvation", pool="app")
    holders = [of_party(starved["holders"][0]), f"and {starved['holders_total'] - 1} others"]
    stage.quote("/v1/incidents, kind starvation", lines([*holders, starved["advice"]]))
    seen = f"{starved['classification']}, {starved['holders'][0]['tags'].get('route')}"
    stage.claim("but error and incident name holder and cause", seen, seen == "leaks_hold_pool, /instance/connect")


def _guarded(stage: Stage) -> None:
    stage.act("3. mode: enforce, and a queue that is as patient as the guard")
    stage.change_settings("mode: observe", "mode: enforce")
    stage.change_settings("size: 9, wait_timeout: 1s", "size: 9, wait_timeout: 10s")
    billing = stage.connect("billing", "billing")
    with _start(stage, "guarded", most=30, wait="15000") as app:
        app.told("before")
        app.told("leaked")
        app.go_on()
        status = billing.execute(
            "UPDATE instance SET status = 'paid' WHERE name = 'phone-0' RETURNING status"
        ).fetchone()
        stage.claim("who waits for a leaked transaction's row gets it", "UPDATE 1", status == ("paid",))
        lost = _lost(stage, app.told("after"))
        stage.claim("no message is lost", f"{lost} of {MESSAGES}", lost == 0)
        ended = stage.incidents(number=LEAKS, action="rollback", outcome="done")
        stage.quote("/v1/incidents, action rollback", culprit(ended[0]))
        client = stage.client(NAME, leaked_slots=LEAKS)
        metric = stage.daemon.metric("poolguard_client_leaked_slots", application=NAME)
        stage.quote("/metrics", f'poolguard_client_leaked_slots{{application="{NAME}"}} {metric:g}')
        probe = stage.daemon.probe(f"/livez/clients/{NAME}?leaked={LEAKS}")
        stage.quote(f"/livez/clients/{NAME}?leaked={LEAKS}", f"{probe.status} {probe.json['why'][0]}")
        stage.claim("what poolguard can't give back is told", f"{client['leaked_slots']} slots", metric == LEAKS)
        stage.claim("a liveness probe can restart it", probe.status, probe.status == 503)
