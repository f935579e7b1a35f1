"""LISTEN and UNLISTEN, read off a text. Pure, and strict."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

NAME_BYTES: Final = 63
"""NAMEDATALEN - 1: longer names are cut, with a NOTICE (PostgreSQL docs, 4.1.1)."""

_NAME: Final = re.compile(rb'[a-z_\x80-\xff]|".')


class Subscription(NamedTuple):
    """One LISTEN or UNLISTEN."""

    begins: bool
    channel: bytes
    """Folded and cut as PostgreSQL does with names; empty for UNLISTEN *."""


def subscriptions(statements: Sequence[Sequence[bytes]]) -> tuple[Subscription, ...]:
    """What a text subscribes to, given as the words of its statements (tokens.py); none if it does anything else."""
    found: list[Subscription] = []
    for words in statements:
        begins = words[0] == b"listen"
        if len(words) != 2 or (not begins and words[0] != b"unlisten"):
            return ()
        if words[1] == b"*" and not begins:
            found.append(Subscription(begins, b""))
        elif _NAME.match(words[1]):
            found.append(Subscription(begins, _cut(words[1].removeprefix(b'"'))))
        else:
            return ()
    return tuple(found)


def _cut(name: bytes) -> bytes:
    """A name as PostgreSQL keeps it: never cut in the middle of a character."""
    return name if len(name) <= NAME_BYTES else name[:NAME_BYTES].decode("utf-8", "ignore").encode()
