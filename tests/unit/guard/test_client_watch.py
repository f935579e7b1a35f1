"""All sessions are looked at once a second."""

from poolguard.guard.client_watch import EVERY_SECONDS, SLICE, ClientWatch
from poolguard.ledger.book import Ledger
from tests.support.clock import ManualClock


async def test_every_session_is_seen_however_many_there_are() -> None:
    ledger = Ledger()
    for _ in range(2 * SLICE + 1):
        ledger.open_session(client_address="unix", now=0.0)
    watch = ClientWatch(ledger, ManualClock())
    await watch.look()
    (client,) = watch.book.clients.values()
    assert client.sessions == 2 * SLICE + 1


async def test_it_looks_by_itself_until_it_is_stopped() -> None:
    ledger, clock = Ledger(), ManualClock()
    watch = ClientWatch(ledger, clock)
    await watch.start()
    ledger.open_session(client_address="unix", now=0.0)
    await clock.advance(0)
    await clock.advance(EVERY_SECONDS)
    assert len(watch.book.clients) == 1
    await watch.drain(0.0)
    await watch.stop()
    await watch.stop()
