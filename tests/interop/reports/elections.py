"""Report (e): River elects nobody, "context deadline exceeded"; river#695, #1077.

A worker leaks transactions in the pool that River's elector shares. The elector waits in the application's own pool, sends
no byte, and gives up after its five seconds. What ends the leak does not give the application its slot back.
"""

from typing import Any, Final

from poolguard.demo.screen import Tone
from tests.interop.reports.application import Application
from tests.interop.reports.stage import Stage, culprit, lines
from tests.interop.toolchains import Go

SLOTS: Final = 4
ROUTE: Final = "job:sync_accounts"
SCHEMA: Final = """
CREATE TABLE accounts (id int PRIMARY KEY, synced bool NOT NULL DEFAULT false);
INSERT INTO accounts SELECT n FROM generate_series(0, 9) AS n;
"""


def play(stage: Stage) -> None:
    """One leak; an election lost to leaks; a pool of its own; a route."""
    stage.set_up(SCHEMA)
    _one_leak(stage)
    _shared(stage)
    _own(stage)
    _routed(stage)


def _start(stage: Stage, name: str, leaks: int, *, app: str, river: str = "") -> Application:
    base = f"postgresql://shop@127.0.0.1:{stage.daemon.clients_port}/"
    whole = {"APP_URL": app, "RIVER_URL": river}
    urls = {key: f"{base}{place}&application_name={name}" if place else "" for key, place in whole.items()}
    return stage.start(Go(), "elections", pool="app", name=name, LEAKS=str(leaks), **urls)


def _slots(stage: Stage, who: str, told: dict[str, Any], tone: Tone) -> str:
    text = f"{told['taken']} of {told['most']} connections of its pgxpool taken"
    stage.tell(who, text, tone)
    return text


def _one_leak(stage: Stage) -> None:
    name = "shop-one"
    stage.act("1. One forgotten transaction, in a pgxpool of four")
    with _start(stage, name, 1, app=f"app?pool_max_conns={SLOTS}") as shop:
        shop.told("leaked")
        web = stage.connect("app", "web")
        row = web.execute("UPDATE accounts SET synced = false WHERE id = 1 RETURNING id").fetchone()
        stage.claim("the guard frees the rows", "another one has the row", row == (1,))
        client = stage.client(name, leaked_slots=1)
        leaked = stage.daemon.metric("poolguard_client_leaked_slots", application=name)
        (ended, *_) = stage.incidents(action="rollback", outcome="done", application=name)
        stage.quote("/v1/incidents, action rollback", lines([culprit(ended), ended["advice"]]))
        route = ended["transaction"]["tags"].get("route")
        stage.claim("the incident names the route", route, route == ROUTE)
        shop.go_on()
        told = shop.told("later")
        taken = _slots(stage, name, told, Tone.BAD)
        stage.claim("the application's own slot stays lost", taken, (told["taken"], told["most"]) == (1, SLOTS))
        stage.quote("/metrics", f'poolguard_client_leaked_slots{{application="{name}"}} {leaked:g}')
        stage.claim("and is counted", f"{leaked:g}", leaked == client["leaked_slots"] == 1)


def _shared(stage: Stage) -> None:
    name = "shop-shared"
    stage.act(
        "2. River's elector shares a pgxpool of four with a worker that leaks; the instance that led is shut down"
    )
    place = f"app?pool_max_conns={SLOTS}"
    with _start(stage, name, SLOTS, app=place, river=place) as shop:
        _slots(stage, name, shop.told("leaked"), Tone.BAD)
        shop.go_on()
        # While the elector waits for its slot: five seconds.
        stage.incidents(number=SLOTS, action="rollback", outcome="done", application=name)
        client = stage.client(name, leaked_slots=SLOTS)
        stage.quote(
            f"/v1/clients?application_name={name}", f"leaked_slots {client['leaked_slots']}, {client['states']}"
        )
        probe = stage.daemon.probe(f"/livez/clients/{name}")
        stage.quote(f"/livez/clients/{name}", f"{probe.status} {probe.json['why'][0]}")
        told = shop.told("not elected")
        stage.tell("river", f"after {told['seconds']:.1f} s: {told['error']}", Tone.BAD)
        stage.claim("nobody is elected", "context deadline exceeded", "context deadline exceeded" in told["error"])
        leader = stage.value("SELECT count(*) FROM river_leader WHERE expires_at > now()")
        stage.claim("there is no leader", f"{leader} leaders", leader == 0)
        shop.go_on()
        told = shop.told("later")
        taken = _slots(stage, name, told, Tone.BAD)
        stage.claim("what the guard ended gives no slot back", taken, told["taken"] == SLOTS)
        stage.claim("a liveness probe can restart it", probe.status, probe.status == 503)


def _nobody_leads(stage: Stage) -> None:
    """The instances of the act before were killed: nobody shall have to wait until their term is over."""
    stage.admin.execute("DELETE FROM river_leader")


def _own(stage: Stage) -> None:
    _nobody_leads(stage)
    stage.act("3. River has a pgxpool of its own, on the pool election; the same leaks")
    river = f"election?pool_max_conns={2 * SLOTS}"
    with _start(stage, "shop-own", SLOTS, app=f"app?pool_max_conns={SLOTS}", river=river) as shop:
        _elected(stage, shop, "shop-own", "with a pool of its own it is elected at once")


def _routed(stage: Stage) -> None:
    _nobody_leads(stage)
    stage.act(
        "4. One connection string for all: a pgxpool of 60 on the pool jobs, all four servers of which are leaked"
    )
    before = stage.daemon.metric("poolguard_checkouts_total", pool="election")
    place = f"jobs?pool_max_conns={15 * SLOTS}"
    with _start(stage, "shop-routed", SLOTS, app=place, river=place) as shop:
        _elected(stage, shop, "shop-routed", "by the statement route it is elected, too")
        held = stage.daemon.pool("jobs")["held"]
        stage.claim("while the pool that it is in has no server left", f"{held} of {SLOTS} held", held == SLOTS)
        served = stage.daemon.metric("poolguard_checkouts_total", pool="election") - before
        stage.quote("/metrics", f'poolguard_checkouts_total{{pool="election"}} +{served:g}')
        stage.claim("and went by the pool election", f"{served:g} checkouts", served >= 1)


def _elected(stage: Stage, shop: Application, name: str, wanted: str) -> None:
    _slots(stage, name, shop.told("leaked"), Tone.BAD)
    shop.go_on()
    told = shop.told("elected")
    after = f"{told['seconds'] * 1000:.0f} ms"
    stage.tell("river", f"elected {after} after the other instance was told to stop", Tone.GOOD)
    # In vain it would have tried for five seconds.
    stage.claim(wanted, f"after {after}", told["seconds"] < 4)
