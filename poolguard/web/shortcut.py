"""`GET /leader/{name}` answered in the very turn of the loop in which it is read.

Whoever asks who leads does so often, and before each piece of work. Through aiohttp such a request waits for two or
three turns of the loop, which at full relay load last a millisecond and more each; the answer itself is a look into
memory. Here a request gets it at once if it is plain and wholly there. Everything else, and everything that would be
refused, takes the long way: nothing is decided here that the handler of the same route does not decide alike.
"""

import re
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from poolguard.core.clock import Clock
from poolguard.core.errors import InvalidLease, NotLeader
from poolguard.lease.manager import LeaseManager
from poolguard.web.errors import body_of, fields_of
from poolguard.web.hosts import OwnNames
from poolguard.web.leases import leader_of
from poolguard.web.replies import HEADERS, to_json

Shortcut = Callable[[bytes], bytes | None]
"""Takes what came in between two requests; returns the whole answer, or None: the long way."""

MOST_BYTES: Final = 4096

# One header field a line, as RFC 9112 has them: no folding, no blank before the colon. Each character has one way to
# match, so the time that it takes grows with the length alone.
_PLAIN: Final = re.compile(
    rb"(GET|HEAD) /leader/([A-Za-z0-9._:/-]{1,128}) HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+)\r\n"
)
_LONG_WAY: Final = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
"""Fields by which a request is more than its head, or the connection something else afterwards."""

_NOTHING: Final[tuple[tuple[str, str], ...]] = ()


def leader_shortcut(manager: LeaseManager, names: OwnNames, clock: Clock) -> Shortcut:
    """Return the shortcut to what *manager* believes, for requests to one of our *names*."""

    def answer(data: bytes) -> bytes | None:
        asked = _read(data, names)
        if asked is None:
            return None
        method, name = asked
        status, more = 200, _NOTHING
        try:
            body = to_json(leader_of(manager, name))
        except NotLeader as error:
            status, more, body = error.http_status, tuple(fields_of(error).items()), to_json(body_of(error))
        except InvalidLease:
            return None
        return _head(status, len(body), int(clock.wall()), more) + (body if method == b"GET" else b"")

    return answer


def _read(data: bytes, names: OwnNames) -> tuple[bytes, str] | None:
    """Return method and lease of a plain request."""
    plain = _PLAIN.fullmatch(data) if len(data) <= MOST_BYTES else None
    if plain is None:
        return None
    hosts = []
    for line in plain[3].lower().split(b"\r\n")[:-1]:
        field, _, value = line.partition(b":")
        if field == b"host":
            hosts.append(value.strip(b" \t").decode())
        elif field in _LONG_WAY or (field == b"connection" and value.strip(b" \t") != b"keep-alive"):
            return None
    if len(hosts) != 1 or not names.mean_us(hosts[0]):
        return None
    return plain[1], plain[2].decode()


@lru_cache(maxsize=16)
def _head(status: int, length: int, at: int, more: tuple[tuple[str, str], ...]) -> bytes:
    fields = {
        **HEADERS,
        **dict(more),
        "Content-Type": "application/json",
        "Content-Length": str(length),
        "Date": formatdate(at, usegmt=True),
    }
    lines = (f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {text}" for name, text in fields.items()))
    return "\r\n".join((*lines, "\r\n")).encode()
