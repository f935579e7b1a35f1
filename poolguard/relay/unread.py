"""Clients that leave unread what they were sent: since when, and who must go. Pure.

While a client does not read, its server is not read either: it can finish nothing, and is free for nobody.
"""

from typing import Final, Generic, Protocol, TypeVar

LINGER_SECONDS: Final = 5.0
"""How long a client whose session has ended has to read its last bytes."""


class Client(Protocol):
    """One that is sent bytes."""

    closed: bool
    """Its session has ended."""

    def unread_bytes(self) -> int:
        """What waits to be sent to it."""
        ...


C = TypeVar("C", bound=Client)


class Unread(Generic[C]):
    """All clients for whom bytes wait now."""

    def __init__(self) -> None:
        self._since: dict[C, tuple[float, int]] = {}
        """Since when (monotonic) nothing has gone out, and how many bytes waited then."""

    def __len__(self) -> int:
        return len(self._since)

    def begins(self, client: C, now: float) -> None:
        """Not all that *client* was sent could go out."""
        self._since.setdefault(client, (now, client.unread_bytes()))

    def ends(self, client: C) -> None:
        """All has gone out, or the connection is no more."""
        self._since.pop(client, None)

    def overdue(self, now: float, seconds: float) -> list[C]:
        """Who has read nothing for *seconds* (0: for ever), or for LINGER_SECONDS after its end."""
        found = []
        for client, (since, before) in self._since.items():
            left = client.unread_bytes()
            if left < before:
                since = now  # it reads, however slowly
            self._since[client] = (since, left)
            limit = LINGER_SECONDS if client.closed else seconds
            if limit and now - since >= limit:
                found.append(client)
        return found
