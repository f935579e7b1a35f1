"""The old leader-elector's two paths."""

from typing import cast

from aiohttp.test_utils import TestClient, TestServer

from poolguard.lease.candidate import Candidate
from poolguard.web.elector import elector_app
from tests.support.clock import ManualClock


class Standing:
    """A candidate whose standing the test says."""

    leads = False
    leader = ""


async def test_what_old_clients_are_told() -> None:
    candidate = Standing()
    async with TestClient(TestServer(elector_app(cast("Candidate", candidate), ManualClock()))) as client:
        async with client.get("/isLeader") as answer:
            assert (answer.status, await answer.json()) == (503, {"isLeader": False, "name": ""})
        candidate.leader = "pod-2"
        async with client.get("/") as answer:
            assert answer.status == 200
            assert (await answer.json())["name"] == "pod-2"
        candidate.leads, candidate.leader = True, "pod-1"
        async with client.get("/isLeader") as answer:
            assert (answer.status, await answer.json()) == (200, {"isLeader": True, "name": "pod-1"})
        async with client.get("/", headers={"Host": "leader-elector:4040"}) as answer:
            told = await answer.json()
            assert (told["name"], told["last_update"]) == ("pod-1", "2023-11-14T22:30:00+00:00")
        async with client.post("/") as answer:
            assert answer.status == 405
