"""What poolguard itself has to do with one of the replies that a server owes."""

from collections.abc import Callable


class Reply:
    """One completion in the extended protocol that is not simply passed on.

    `local`: bytes that poolguard answers in PostgreSQL's place, at this point of the order. `swallow`: PostgreSQL
    completes something that the client did not ask for. `on_undone` keeps the books of prepared
    statements true when an error skips the message.
    """

    __slots__ = ("local", "on_undone", "swallow")

    def __init__(
        self,
        *,
        local: bytes = b"",
        swallow: bool = False,
        on_undone: Callable[[], object] | None = None,
    ) -> None:
        self.local = local
        self.swallow = swallow
        self.on_undone = on_undone

    def completed(self) -> bool:
        """PostgreSQL has done it; True if the client must not hear of it."""
        return self.swallow

    def undone(self) -> None:
        """An error came first: it was never done."""
        if self.on_undone is not None:
            self.on_undone()
