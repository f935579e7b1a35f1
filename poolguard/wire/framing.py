"""Cut a byte stream into tagged messages (PostgreSQL docs, 55.2). Used before a session is logged in.

The relay's hot path walks headers itself, over the chunk it was given (relay/pipe.py).
"""

from typing import Final

from poolguard.core.errors import ClientViolation, PoolguardError

HEADER: Final = 5
"""One byte of tag, four of length; the length counts itself but not the tag."""


class FrameSplitter:
    """Cut a stream into (tag, body) pairs. Any cut of the stream into chunks gives the same pairs."""

    def __init__(self, *, max_body: int, blame: type[PoolguardError] = ClientViolation) -> None:
        self._pending = bytearray()
        self._max_body = max_body
        self._blame = blame

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the messages that *data* completes. Raises *blame* for a length outside of 4..max_body + 4."""
        self._pending += data
        frames: list[tuple[int, bytes]] = []
        start = 0
        while len(self._pending) - start >= HEADER:
            length = int.from_bytes(self._pending[start + 1 : start + HEADER], "big", signed=True)
            if not 4 <= length <= self._max_body + 4:
                raise self._blame(f"message length {length} is not in 4..{self._max_body + 4}")
            end = start + 1 + length
            if len(self._pending) < end:
                break
            frames.append((self._pending[start], bytes(self._pending[start + HEADER : end])))
            start = end
        del self._pending[:start]
        return frames

    def rest(self) -> bytes:
        """Give up what has come of the next message."""
        rest = bytes(self._pending)
        self._pending.clear()
        return rest
