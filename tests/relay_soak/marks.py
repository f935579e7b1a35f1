"""What every client checks of every reply, and what it tells at the end."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

EXCUSED: Final = frozenset({
    "57P01", "57P02", "57P03", "08006", "08001", "08003", "08004",  # somebody was killed, or PostgreSQL
    "53300",  # the wait was in vain
    "25P03", "25P04",  # the guard has ended it: the client leaked on purpose
    "25P02",  # what follows one of these in the same transaction
    "57014",  # its own cancel
})  # fmt: skip
"""SQLSTATEs that a client may be told. No code at all means that the connection broke."""


class WrongReply(Exception):
    """A reply that PostgreSQL would not have given. What the soak is there to find."""


@dataclass(slots=True)
class Told:
    """What the clients of one driver have seen."""

    driver: str
    done: Counter[str] = field(default_factory=Counter)
    """Acts that went as they should."""
    excused: Counter[str] = field(default_factory=Counter)
    """Errors, by SQLSTATE."""
    wrong: list[str] = field(default_factory=list)
    committed: list[int] = field(default_factory=list)
    """Rows whose COMMIT was acknowledged."""
    unknown: list[int] = field(default_factory=list)
    """Rows whose COMMIT was sent, and not answered."""
    kills: int = 0
    """Connections that the client itself has broken."""


class Mark:
    """One client: whatever it asks for must carry its mark."""

    def __init__(self, told: Told, number: int, *, until: float, seed: int) -> None:
        self.text: Final = f"{told.driver} {number}"
        self.told: Final = told
        self.chance: Final = random.Random(seed * 1000 + number)
        self._until = until
        self._first = number * 10_000_000
        self._rows = 0
        self._lock = threading.Lock()

    def is_over(self) -> bool:
        """Whether the soak has ended (monotonic clock, the same in all processes of a machine)."""
        return time.monotonic() >= self._until

    def new_row(self) -> int:
        """A number that no other row has."""
        self._rows += 1
        return self._first + self._rows

    def selected(self, rows: Sequence[Sequence[Any]], count: int) -> None:
        """All *count* rows have come, and are this client's."""
        if len(rows) != count:
            raise WrongReply(f"{self.text}: {len(rows)} rows instead of {count}")
        for row in rows:
            if row[0] != self.text:
                raise WrongReply(f"{self.text} was told {row[0]!r}")

    def expect(self, what: str, found: object, wanted: object) -> None:
        """Compare one value."""
        if found != wanted:
            raise WrongReply(f"{self.text}: {what} is {found!r} instead of {wanted!r}")

    def failed(self, act: str, error: BaseException, sqlstate: str | None) -> None:
        """An act ended with *error*: excused, or not."""
        with self._lock:
            if isinstance(error, WrongReply):
                self.told.wrong.append(f"{act}: {error}")
            elif sqlstate is None or sqlstate in EXCUSED:
                self.told.excused[sqlstate or "broken"] += 1
            else:
                self.told.wrong.append(f"{self.text}, {act}: {sqlstate} {error}"[:300])
