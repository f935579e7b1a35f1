"""Incidents by webhook: signed, tried again, given up, never told twice, and the book never waits."""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from poolguard.guard.book import STREAM_LENGTH, IncidentBook
from poolguard.settings.model import Webhook as WebhookSettings
from poolguard.web.webhook import Webhook, signed
from tests.support.clock import ManualClock
from tests.support.eventually import eventually_async
from tests.unit.guard.test_incidents import INCIDENT

SECRET = "a-key"


@dataclass
class Receiver:
    """Answers from a script (the last repeats), and keeps what came."""

    statuses: list[int]
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    hold: asyncio.Event | None = None

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        if self.hold is not None:
            await self.hold.wait()
        return web.Response(status=self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@asynccontextmanager
async def hooked(
    receiver: Receiver, pauses: tuple[float, ...] = (0.0, 0.0), **settings: Any
) -> AsyncIterator[tuple[IncidentBook, Webhook]]:
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    async with TestServer(app) as server:
        book = IncidentBook(ManualClock(), lambda _: None)
        given = WebhookSettings(url=str(server.make_url("/hook")), secret=SECRET, **settings)
        hook = Webhook(book, ManualClock(), lambda: given, pauses=pauses)
        await hook.start()
        try:
            yield book, hook
        finally:
            await hook.stop()


def rule(name: str) -> Any:
    return replace(INCIDENT, id=name, rule=name)


async def test_an_incident_comes_signed() -> None:
    receiver = Receiver([204])
    async with hooked(receiver) as (book, hook):
        book.record(rule("one"))
        await eventually_async(lambda: hook.counters.sent == 1)
    ((headers, body),) = receiver.got
    assert json.loads(body) == {"incident": json.loads(json.dumps(rule("one").as_json())), "repeats": 0}
    digest = hmac.new(SECRET.encode(), f"{headers['X-Poolguard-Time']}.".encode() + body, sha256).hexdigest()
    assert headers["X-Poolguard-Signature"] == f"sha256={digest}"


@pytest.mark.parametrize(
    ("statuses", "times", "sent", "failed"),
    [([503, 200], 2, 1, 0), ([429, 500, 200], 3, 1, 0), ([500], 3, 0, 1), ([400], 1, 0, 1), ([302], 1, 0, 1)],
)
async def test_what_may_pass_is_tried_again_and_what_will_not_is_given_up(
    statuses: list[int], times: int, sent: int, failed: int
) -> None:
    receiver = Receiver(statuses)
    async with hooked(receiver) as (book, hook):
        book.record(rule("one"))
        await eventually_async(lambda: hook.counters.sent + hook.counters.failed == 1)
        assert (len(receiver.got), hook.counters.sent, hook.counters.failed) == (times, sent, failed)


async def test_nobody_there_is_given_up_without_the_url_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    book = IncidentBook(ManualClock(), lambda _: None)
    given = WebhookSettings(url="http://127.0.0.1:1/secret-path")
    hook = Webhook(book, ManualClock(), lambda: given, pauses=())
    await hook.start()
    book.record(rule("one"))
    await eventually_async(lambda: hook.counters.failed == 1)
    await hook.stop()
    assert "secret-path" not in caplog.text


async def test_a_storm_of_the_same_is_told_once() -> None:
    receiver = Receiver([200])
    async with hooked(receiver) as (book, hook):
        for number in range(5):
            book.record(replace(INCIDENT, id=str(number)))
        await eventually_async(lambda: hook.counters.repeats == 4)
    assert len(receiver.got) == 1


async def test_a_receiver_that_is_slow_loses_the_oldest_and_holds_nobody_up() -> None:
    receiver = Receiver([200], hold=asyncio.Event())
    async with hooked(receiver) as (book, hook):
        book.record(rule("first"))
        await eventually_async(lambda: bool(receiver.got))
        for number in range(STREAM_LENGTH + 5):
            book.record(rule(f"r{number}"))
        assert receiver.hold is not None
        receiver.hold.set()
        await eventually_async(lambda: hook.counters.sent == STREAM_LENGTH + 1)
        assert hook.counters.missed == 5
    assert receiver.bodies[1]["incident"]["rule"] == "r5"


async def test_without_a_url_nothing_is_sent() -> None:
    book = IncidentBook(ManualClock(), lambda _: None)
    hook = Webhook(book, ManualClock(), WebhookSettings)
    await hook.start()
    book.record(INCIDENT)
    await asyncio.sleep(0)
    await hook.stop()
    assert (hook.counters.sent, hook.counters.failed) == (0, 0)


def test_without_a_secret_there_is_no_signature() -> None:
    assert "X-Poolguard-Signature" not in signed(b"{}", None, 5)
