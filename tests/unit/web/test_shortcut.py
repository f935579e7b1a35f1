"""Who leads, told without aiohttp: exactly what the handler of the route would say, or nothing at all."""

from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import pytest

from poolguard.lease.manager import LeaseManager
from poolguard.settings.model import Leases
from poolguard.web.hosts import OwnNames
from poolguard.web.shortcut import MOST_BYTES, Shortcut, leader_shortcut
from tests.support.clock import ManualClock
from tests.support.leases import TableStore, wish
from tests.unit.web.conftest import Client

PLAIN = b"GET /leader/a HTTP/1.1\r\nHost: 127.0.0.1:6433\r\n\r\n"


@pytest.fixture
async def manager(store: TableStore, clock: ManualClock) -> AsyncIterator[LeaseManager]:
    made = LeaseManager(store, Leases(), clock)
    await made.start()
    await made.acquire(wish())
    yield made
    await made.stop()


@pytest.fixture
def shortcut(manager: LeaseManager, clock: ManualClock) -> Shortcut:
    return leader_shortcut(manager, OwnNames("127.0.0.1"), clock)


def parts(answer: bytes | None) -> tuple[str, dict[str, str], bytes]:
    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return status, dict(field.split(": ", 1) for field in fields), body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", ["a", "nobody/leads-this"])
async def test_it_says_what_the_handler_says(
    client: Client, shortcut: Shortcut, clock: ManualClock, method: str, name: str
) -> None:
    """The client's server has a manager of its own, over the same store: it finds the same term by the same request."""
    async with client.put("/v1/leases/a", json={"holderIdentity": "pod-1", "requestId": "r1"}):
        pass
    async with client.request(method, f"/leader/{name}") as answer:
        status, fields, body = parts(
            shortcut(PLAIN.replace(b"GET", method.encode()).replace(b"/a ", b"/%s " % name.encode()))
        )
        assert status == f"HTTP/1.1 {answer.status} {answer.reason}"
        assert body == await answer.read()
        told = {key: value for key, value in answer.headers.items() if key not in {"Server", "Date"}}
    assert parsedate_to_datetime(fields.pop("Date")).timestamp() == int(clock.wall())
    assert fields == told


async def test_it_says_no_from_the_moment_on_in_which_trust_ends(shortcut: Shortcut, clock: ManualClock) -> None:
    assert parts(shortcut(PLAIN))[0] == "HTTP/1.1 200 OK"
    await clock.advance(13.5)
    assert parts(shortcut(PLAIN))[0] == "HTTP/1.1 503 Service Unavailable"


@pytest.mark.parametrize(
    "fields",
    [
        b"host:localhost",
        b"Host: localhost\r\nConnection: keep-alive",
        b"Host:\t127.0.0.1 \r\nUser-Agent: a: b, (c)\r\nAccept: */*\r\nAuthorization: Bearer x",
        b"Accept-Encoding: gzip\r\nHOST: [::1]:6433",
    ],
)
def test_what_clients_send_is_plain(shortcut: Shortcut, fields: bytes) -> None:
    assert shortcut(b"GET /leader/a HTTP/1.1\r\n" + fields + b"\r\n\r\n") is not None


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        PLAIN[:-1],
        PLAIN + PLAIN,
        PLAIN + b"x",
        b"\r\n" + PLAIN,
        PLAIN.replace(b"GET", b"POST"),
        PLAIN.replace(b"GET", b"get"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"/leader/a", b"/v1/leases/a"),
        PLAIN.replace(b"/leader/a", b"/leader/a?x=1"),
        PLAIN.replace(b"/leader/a", b"/leader/%61"),
        PLAIN.replace(b"/leader/a", b"/leader/" + b"a" * 129),
        PLAIN.replace(b"/leader/a", b"/leader/a//b"),
        PLAIN.replace(b"/leader/a", b"/leader/../a"),
        PLAIN.replace(b"/leader/a", b"http://localhost/leader/a"),
        PLAIN.replace(b"127.0.0.1:6433", b"evil.example"),
        PLAIN.replace(b"127.0.0.1:6433", b""),
        PLAIN.replace(b"Host", b"Hos"),
        PLAIN.replace(b"Host", b"Host "),
        PLAIN.replace(b"\r\n\r\n", b"\r\nHost: localhost\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nHost: evil.example\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\ntransfer-ENCODING: chunked\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive, upgrade\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nUpgrade: h2c\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nA: b\r\n folded\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nA: \x00\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nA: \xc3\xa9\r\n\r\n"),
        PLAIN.replace(b"\r\n", b"\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nA: " + b"b" * MOST_BYTES + b"\r\n\r\n"),
    ],
)
def test_everything_else_takes_the_long_way(shortcut: Shortcut, request_: bytes) -> None:
    assert shortcut(request_) is None
