"""What poolguard itself has to do with one of the replies that a server owes."""

from collections.abc import Callable, Mapping


class Reply:
    """One completion in the extended protocol that is not simply passed on.

    `local`: bytes that poolguard answers in PostgreSQL's place, at this point of the order. `by_status`: the same, by
    the transaction's status at that point. `swallow`: PostgreSQL completes something that the client did not ask for.
    `on_done` and `on_undone` keep the books of prepared statements true when it is completed, and when an error skips
    the message.
    """

    __slots__ = ("by_status", "local", "on_done", "on_undone", "swallow")

    def __init__(
        self,
        *,
        local: bytes = b"",
        by_status: Mapping[int, bytes] | None = None,
        swallow: bool = False,
        on_done: Callable[[], object] | None = None,
        on_undone: Callable[[], object] | None = None,
    ) -> None:
        self.local = local if by_status is None else by_status[b"I"[0]]
        self.by_status = by_status
        self.swallow = swallow
        self.on_done = on_done
        self.on_undone = on_undone

    def completed(self) -> bool:
        """PostgreSQL has done it; True if the client must not hear of it."""
        if self.on_done is not None:
            self.on_done()
        return self.swallow

    def undone(self) -> None:
        """An error came first: it was never done."""
        if self.on_undone is not None:
            self.on_undone()
