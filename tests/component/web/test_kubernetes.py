"""Kubernetes Events over HTTPS, with an API server of the test's own: path, token, body, and what is done when it fails."""

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from poolguard.guard.book import IncidentBook
from poolguard.guard.history import Action
from poolguard.settings.model import KubernetesEvents as EventSettings
from poolguard.web.kubernetes import KubernetesEvents
from tests.support.certificates import Authority
from tests.support.clock import ManualClock
from tests.support.eventually import eventually_async
from tests.unit.guard.test_incidents import INCIDENT

TOKEN = "a-token"
ENDED = replace(INCIDENT, action=Action.ROLLBACK, rule="leaked")
EVENTS = "/apis/events.k8s.io/v1/namespaces/prod/events"


@dataclass
class ApiServer:
    """Keeps Events by name as Kubernetes does: a token is asked for, an unknown one can't be patched."""

    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """Answers before it answers as it should."""

    async def take(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path, dict(request.headers)))
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        body = json.loads(await request.read())
        if request.method == "POST":
            self.events[body["metadata"]["name"]] = body
            return web.Response(status=201)
        if request.match_info["name"] not in self.events:
            return web.Response(status=404)
        self.events[request.match_info["name"]] |= body
        return web.Response(status=200)


@dataclass
class Cluster:
    """What the test moves."""

    server: ApiServer
    book: IncidentBook
    events: KubernetesEvents
    clock: ManualClock
    account: Path

    async def tell(self, incident: Any) -> None:
        """Record *incident*, and wait for what becomes of it."""
        before = self.told()
        self.book.record(incident)
        await eventually_async(lambda: self.told() == before + 1)

    def told(self) -> int:
        counters = self.events.counters
        return counters.sent + counters.failed + counters.repeats


Start = Callable[..., AbstractAsyncContextManager[Cluster]]


@pytest.fixture
def cluster(tmp_path: Path) -> Start:
    @asynccontextmanager
    async def start(*, trusted: bool = True, environ: dict[str, str] | None = None) -> AsyncIterator[Cluster]:
        authority = Authority()
        issued = authority.issue("kubernetes", hosts=["127.0.0.1"])
        (tmp_path / "token").write_text(TOKEN + "\n")
        (tmp_path / "ca.crt").write_bytes((authority if trusted else Authority("another")).certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*issued.write(tmp_path, "server"))
        server, app = ApiServer(), web.Application()
        app.router.add_post(EVENTS, server.take)
        app.router.add_patch(EVENTS + "/{name}", server.take)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        given = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(port),
            "POD_NAME": "shop-7d9f",
            "POD_NAMESPACE": "prod",
            "POD_UID": "0f-1",
        }
        clock = ManualClock()
        book = IncidentBook(clock, lambda _: None)
        settings = EventSettings(enabled=True, repeat_after=60.0)
        made = KubernetesEvents(
            book, clock, lambda: settings, given | (environ or {}), account=tmp_path, pauses=(0.0, 0.0)
        )
        await made.start()
        try:
            yield Cluster(server, book, made, clock, tmp_path)
        finally:
            await made.stop()
            await runner.cleanup()

    return start


async def test_an_event_is_created_on_the_pod_with_the_service_account_s_token(cluster: Start) -> None:
    async with cluster() as found:
        await found.tell(ENDED)
        assert found.events.counters.sent == 1
        ((method, path, headers),) = found.server.asked
        assert (method, path) == ("POST", EVENTS)
        assert headers["Authorization"] == f"Bearer {TOKEN}"
        ((name, event),) = found.server.events.items()
        assert name == f"shop-7d9f.{ENDED.id}"
        assert (event["reason"], event["regarding"]["name"], event["regarding"]["uid"]) == (
            "TransactionRolledBack",
            "shop-7d9f",
            "0f-1",
        )


async def test_the_same_again_is_one_event_whose_series_counts(cluster: Start) -> None:
    async with cluster() as found:
        for number in range(4):
            await found.tell(replace(ENDED, id=f"again-{number}"))
        await found.clock.advance(61.0)
        await found.tell(replace(ENDED, id="later"))
        ((_, event),) = found.server.events.items()
        assert event["series"]["count"] == 5
        assert [method for method, _, _ in found.server.asked] == ["POST", "PATCH"]
        assert found.server.asked[1][2]["Content-Type"] == "application/merge-patch+json"


async def test_an_event_that_kubernetes_has_forgotten_is_made_anew(cluster: Start) -> None:
    async with cluster() as found:
        await found.tell(replace(ENDED, id="first"))
        found.server.events.clear()
        await found.clock.advance(61.0)
        await found.tell(replace(ENDED, id="second"))
        assert list(found.server.events) == ["shop-7d9f.second"]


async def test_a_token_that_was_changed_counts_at_once(cluster: Start) -> None:
    async with cluster() as found:
        (found.account / "token").write_text("old")
        await found.tell(replace(ENDED, rule="one"))
        (found.account / "token").write_text(TOKEN)
        await found.tell(replace(ENDED, rule="two"))
        assert (found.events.counters.failed, found.events.counters.sent) == (1, 1)


async def test_what_may_pass_is_tried_again(cluster: Start) -> None:
    async with cluster() as found:
        found.server.statuses = [503, 429]
        await found.tell(ENDED)
        assert (len(found.server.asked), found.events.counters.sent) == (3, 1)


async def test_a_role_that_may_not_is_counted_and_logged_once(cluster: Start, caplog: pytest.LogCaptureFixture) -> None:
    async with cluster() as found:
        found.server.statuses = [403, 403]
        await found.tell(replace(ENDED, rule="one"))
        await found.tell(replace(ENDED, rule="two"))
        assert (len(found.server.asked), found.events.counters.failed) == (2, 2)
    assert caplog.text.count("could not be sent") == 1
    assert TOKEN not in caplog.text


async def test_a_server_that_the_cluster_s_authority_has_not_signed_is_told_nothing(cluster: Start) -> None:
    async with cluster(trusted=False) as found:
        await found.tell(ENDED)
        assert (found.server.asked, found.events.counters.failed) == ([], 1)


async def test_outside_of_a_pod_it_fails_in_words(cluster: Start, caplog: pytest.LogCaptureFixture) -> None:
    async with cluster(environ={"POD_NAME": ""}) as found:
        await found.tell(ENDED)
        assert found.events.counters.failed == 1
    assert any("POD_NAME" in str(record.__dict__.get("reason")) for record in caplog.records)


async def test_a_warning_is_no_event(cluster: Start) -> None:
    async with cluster() as found:
        found.book.record(replace(INCIDENT, action=Action.WARN))
        await found.tell(ENDED)
        assert len(found.server.asked) == 1
