"""JSON bodies. Long lists are written in slices, between which the event loop turns."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Final, TypeVar

from aiohttp import web

T = TypeVar("T")

SLICE_SECONDS: Final = 0.002
"""For how long a list is rendered before the event loop turns. The relay must never wait for 5 ms."""

HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Of every answer."""


def to_json(value: object) -> bytes:
    """*value* on one line, with a line feed, so that curl's output ends well."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def reply(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer that is short."""
    return web.Response(
        body=to_json(value),
        status=status,
        headers={**HEADERS, **(headers or {})},
        content_type="application/json",
    )


async def reply_list(key: str, items: Iterable[T], render: Callable[[T], object], **around: object) -> web.Response:
    """An answer `{**around, key: [render(item), ...]}`, however long *items* is.

    *items* must be frozen: others run while this does.
    """
    parts: list[bytes] = []
    turn_at = perf_counter() + SLICE_SECONDS
    for item in items:
        parts.append(to_json(render(item)).rstrip())
        if perf_counter() >= turn_at:
            await asyncio.sleep(0)
            turn_at = perf_counter() + SLICE_SECONDS
    head = to_json({**around, key: []}).rstrip().removesuffix(b"]}")
    return web.Response(
        body=b"".join((head, b",".join(parts), b"]}\n")),
        headers=HEADERS,
        content_type="application/json",
    )
