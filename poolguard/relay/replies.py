"""What poolguard itself has to do with one of the replies that a server owes."""

from collections.abc import Callable, Mapping
from typing import final


class NotYet(Exception):
    """The message at hand can't go on now: it and all behind it are held back. The subclass says why."""


@final
class Reply:
    """One completion in the extended protocol that is not simply passed on.

    `local`: bytes that poolguard answers in PostgreSQL's place, at this point of the order. `by_status`: the same, by
    the transaction's status at that point. `swallow`: PostgreSQL completes something that the client did not ask for.
    `error`: what the client is told when PostgreSQL refuses a message that was made to fail, so that PostgreSQL's
    transaction fails too. `on_done`, `on_undone` and `on_error` keep the books of prepared statements true when it is
    completed, when an error skips the message, and when its `error` is told; `on_failed` is called last if an error is
    the message's own. `on_over` is called last, whichever way it went, unless the server is lost. `on_tag` makes it the
    reply of a whole Query, whatever its end: it is told the tag of each statement that is complete, and says whether
    the client must not hear of it.
    """

    __slots__ = (
        "by_status",
        "error",
        "local",
        "on_done",
        "on_error",
        "on_failed",
        "on_over",
        "on_tag",
        "on_undone",
        "swallow",
    )

    def __init__(
        self,
        *,
        local: bytes = b"",
        by_status: Mapping[int, bytes] | None = None,
        swallow: bool = False,
        error: bytes = b"",
        on_done: Callable[[], object] | None = None,
        on_undone: Callable[[], object] | None = None,
        on_error: Callable[[], object] | None = None,
        on_failed: Callable[[], object] | None = None,
        on_tag: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.local = local if by_status is None else by_status[b"I"[0]]
        self.by_status = by_status
        self.swallow = swallow
        self.error = error
        self.on_done = on_done
        self.on_undone = on_undone
        self.on_error = on_error
        self.on_failed = on_failed
        self.on_tag = on_tag
        self.on_over: Callable[[], object] | None = None

    def completed(self) -> bool:
        """PostgreSQL has done it; True if the client must not hear of it."""
        if self.on_done is not None:
            self.on_done()
        if self.on_over is not None:
            self.on_over()
        return self.swallow

    def undone(self) -> None:
        """An error came first: it was never done."""
        if self.on_undone is not None:
            self.on_undone()
        if self.on_over is not None:
            self.on_over()

    def refused(self) -> bytes:
        """PostgreSQL has refused it, as it was meant to; what the client is told."""
        if self.on_error is not None:
            self.on_error()
        return self.error
