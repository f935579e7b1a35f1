"""Names of sessions, servers and transactions: small numbers that are never used again in one process."""

from typing import NamedTuple, NewType, Self

SessionId = NewType("SessionId", int)
ServerId = NewType("ServerId", int)


class TransactionId(NamedTuple):
    """One checkout of one session: whoever acts on a transaction names both, so that a late action misses."""

    session: SessionId
    checkout: int

    def __str__(self) -> str:
        return f"{self.session}-{self.checkout}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `SESSION-CHECKOUT`. Raises ValueError for anything else."""
        session, dash, checkout = text.partition("-")
        if not (dash and session.isascii() and session.isdigit() and checkout.isascii() and checkout.isdigit()):
            raise ValueError(f"a transaction id looks like 12-3, not {text[:32]!r}")
        return cls(SessionId(int(session)), int(checkout))
