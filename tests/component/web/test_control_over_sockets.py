"""The control listener with the real guard and its book behind it, over a socket."""

from aiohttp import ClientSession

from poolguard.core.errors import PoolguardError
from poolguard.core.ids import TransactionId
from poolguard.guard.book import IncidentBook
from poolguard.guard.clients import ClientBook
from poolguard.guard.errors import ErrorBook
from poolguard.guard.guard import Guard
from poolguard.guard.locks.state import LockState
from poolguard.ledger.book import Ledger
from poolguard.ledger.hands import ANYHOW, Outcome, Still
from poolguard.metrics.sources import SettingsInForce
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.settings.model import Settings
from poolguard.web.app import control_app
from poolguard.web.hosts import OwnNames
from poolguard.web.server import WebServer
from poolguard.web.sources import ControlSources
from tests.support.clock import ManualClock
from tests.support.snapshots import holder, pool_snapshot
from tests.support.web import JSON


class Hand:
    """Rolls back what it is told to."""

    def __init__(self) -> None:
        self.rolled_back: list[TransactionId] = []

    async def cancel(self, transaction: TransactionId, still: Still = ANYHOW) -> Outcome:
        raise AssertionError(f"{transaction} was to be rolled back")

    async def rollback(self, transaction: TransactionId, error: PoolguardError, still: Still = ANYHOW) -> Outcome:
        assert error.message
        self.rolled_back.append(transaction)
        return Outcome.DONE

    async def terminate(self, transaction: TransactionId, error: PoolguardError, still: Still = ANYHOW) -> Outcome:
        raise AssertionError(f"{transaction} was to be rolled back: {error}")


def snapshot(name: str) -> PoolSnapshot | None:
    return pool_snapshot(name, held=1)


async def test_a_transaction_seen_over_http_is_rolled_back_over_http_and_is_an_incident(loop_kind: str) -> None:
    clock, ledger, hand, settings = ManualClock(), Ledger(), Hand(), Settings()
    book = IncidentBook(clock, snapshot, settings_hash="abc")
    guard = Guard(
        clock=clock,
        transactions=ledger.transactions,
        hands=hand,
        snapshot=snapshot,
        book=book,
        settings=settings,
        settings_hash="abc",
    )
    entry = holder(ledger, statements=(b"update accounts set secret = 'hunter2'",))
    sources = ControlSources(
        clock=clock,
        ledger=ledger,
        pools=lambda: [pool_snapshot(held=1)],
        settings=SettingsInForce(settings=settings, hash="abc", source="defaults", loaded_at=1.0),
        incidents=book,
        guard=guard,
        locks=LockState(),
        errors=ErrorBook(lambda _: None),
        clients=ClientBook(),
        names=OwnNames("127.0.0.1"),
    )
    server = WebServer("control", lambda: control_app(sources), clock, host="127.0.0.1", port=0)
    await server.start()
    base = f"http://127.0.0.1:{server.port}"
    async with ClientSession(base) as http:
        (found,) = (await (await http.get("/v1/transactions")).json())["transactions"]
        acted = await (await http.post(f"/v1/transactions/{found['id']}/rollback", headers=JSON)).json()
        listed = await (await http.get("/v1/incidents")).text()
        single = await (await http.get(f"/v1/incidents/{acted['id']}")).json()
    await server.stop()
    await guard.stop()

    assert loop_kind
    assert hand.rolled_back == [entry.transaction_id]
    assert (acted["kind"], acted["action"], acted["outcome"]) == ("by_hand", "rollback", "done")
    assert acted["actor"] == "http (127.0.0.1)"
    assert single == acted
    assert "hunter2" not in listed
