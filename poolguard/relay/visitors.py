"""Clients that want none of the pools but poolguard itself, and what the relay needs of whoever takes them in."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from poolguard.wire.startup import Startup


@dataclass(frozen=True, slots=True)
class Visitor:
    """A client that has logged in. Its connection is the taker's from now on."""

    transport: asyncio.Transport
    asked: Startup = field(repr=False)
    """What it said at its start; a secret may be among the parameters."""
    number: int
    """No session of this process has the same."""
    address: str
    """`127.0.0.1:40312`, or `unix`."""
    early: bytes = field(default=b"", repr=False)
    """What it has said behind its login."""


class Console(Protocol):
    """Takes visitors in."""

    def wanted(self, asked: Startup) -> bool:
        """Whether a client that asks for this is a visitor."""
        ...

    def visit(self, visitor: Visitor) -> None:
        """Greet *visitor*, and talk to it."""
        ...


class NoConsole:
    """Nobody is a visitor."""

    def wanted(self, asked: Startup) -> bool:
        """See Console."""
        del asked
        return False

    def visit(self, visitor: Visitor) -> None:
        """See Console."""
        raise AssertionError(f"nobody takes in {visitor.address}")
