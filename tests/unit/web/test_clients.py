"""GET /v1/clients, and the probe of an application."""

from poolguard.guard.clients import ClientKey
from poolguard.ledger.entries import Phase
from tests.support.web import Control
from tests.unit.web.test_health import Process


def counts(name: str, **phases: int) -> dict[ClientKey, dict[tuple[str, Phase], int]]:
    return {ClientKey(name, "bob", "unix"): {("app", Phase[phase]): number for phase, number in phases.items()}}


async def asked(process: Process, path: str) -> int:
    async with process.client() as client:
        return (await client.get(path)).status


async def test_processes_come_with_what_their_connections_do() -> None:
    control = Control()
    control.clients.see(counts("shop", ACTIVE=2, ENDED=1) | counts("cron", IDLE=1), control.clock.monotonic())
    async with control.client() as client:
        answer = await (await client.get("/v1/clients")).json()
        one = await (await client.get("/v1/clients?application_name=cron")).json()
    shop, cron = answer["clients"]
    assert (shop["application_name"], shop["sessions"], shop["busy"], shop["leaked_slots"]) == ("shop", 3, 3, 1)
    assert shop["states"] == {"active": 2, "ended": 1}
    assert one["clients"] == [cron]


async def test_the_probe_fails_when_slots_are_lost() -> None:
    probes = Process()
    probes.clients.see(counts("shop", ENDED=2, IDLE=1), 0.0)
    assert await asked(probes, "/livez/clients/shop") == 503
    assert await asked(probes, "/livez/clients/shop?leaked=3") == 200
    assert await asked(probes, "/livez/clients/shop?leaked=0") == 200


async def test_the_probe_fails_when_all_connections_stay_busy() -> None:
    probes = Process()
    probes.clients.see(counts("shop", ACTIVE=2), 930.0)  # the clock stands at 1000
    assert await asked(probes, "/livez/clients/shop") == 503
    assert await asked(probes, "/livez/clients/shop?full=5m") == 200


async def test_a_name_that_is_not_known_is_not_found_and_a_bad_duration_is_refused() -> None:
    probes = Process()
    assert await asked(probes, "/livez/clients/nobody") == 404
    probes.clients.see(counts("shop", IDLE=1), 0.0)
    assert await asked(probes, "/livez/clients/shop?full=long") == 400
    assert await asked(probes, "/livez/clients/shop") == 200
