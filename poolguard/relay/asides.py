"""Statements of poolguard's own between the messages of a client's batch, run in the same transaction and unseen."""

from collections.abc import Callable
from typing import Final

from poolguard.relay.replies import Reply
from poolguard.wire import messages

_PORTAL: Final = messages.message(b"C", b"P__poolguard_aside\0")
_BIND: Final = messages.message(b"B", b"__poolguard_aside\0\0" + bytes(6))
_RUN: Final = messages.message(b"E", b"__poolguard_aside\0" + bytes(4))


def aside(sql: bytes, undone: Callable[[], None] | None = None) -> tuple[bytes, list[Reply]]:
    """What runs *sql*, which returns no row, and its replies; *undone* is told if an error comes first.

    The unnamed statement is another one behind it: the caller must see to the client's own.
    """
    data = messages.message(b"P", b"\0" + sql + b"\0\0\0") + _BIND + _RUN + _PORTAL
    return data, [*(Reply(swallow=True) for _ in range(3)), Reply(swallow=True, on_undone=undone)]
