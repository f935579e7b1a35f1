"""What a client sees is what PostgreSQL says: one script, sent to PostgreSQL and through a pool, replies compared.

Masked is what may differ: cancel keys, backend pids, the order of ParameterStatus in a row, and the places in
PostgreSQL's source that an error names (poolguard's own errors name none).
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from tests.integration.relay.raw import TERMINATE, Message, Raw, connected, query

Masked = tuple[str, object]
SOURCE_PLACE: Final = frozenset("FLR")


@dataclass(frozen=True, slots=True)
class Step:
    """Send *data* in one write, then read up to the *times*-th message whose tag is in *last*."""

    data: bytes
    last: str = "Z"
    times: int = 1


def ask(*data: bytes, times: int = 1) -> Step:
    """Read up to the *times*-th ReadyForQuery."""
    return Step(b"".join(data), times=times)


def sql(*texts: str) -> list[Step]:
    """Simple queries, one after the other."""
    return [ask(query(text)) for text in texts]


def flushed(*data: bytes, last: str, times: int = 1) -> Step:
    """Read up to the *times*-th message with a tag of *last*: for what has no Sync yet."""
    return Step(b"".join(data), last, times)


def tell(*data: bytes) -> Step:
    """Read nothing."""
    return Step(b"".join(data), times=0)


Script = Sequence[Step]


def masked(messages: Sequence[Message]) -> list[Masked]:
    """*messages* without what may differ."""
    result: list[Masked] = []
    for tag, same in groupby(messages, key=lambda received: received.tag):
        masks = [(tag, _mask(received)) for received in same]
        result += sorted(masks, key=repr) if tag == "S" else masks
    return result


def _mask(received: Message) -> object:
    match received.tag:
        case "E" | "N":
            return {key: value for key, value in received.fields.items() if key not in SOURCE_PLACE}
        case "K":
            return len(received.body)
        case "A":
            return received.body[4:]
        case _:
            return received.body


async def nothing() -> None:
    """What happens between two steps when nobody else is there."""


async def replay(
    port: int,
    database: str,
    script: Script,
    *,
    dribble: bool = False,
    between: Callable[[], Coroutine[None, None, None]] = nothing,
) -> list[list[Masked]]:
    """Run *script* on a new connection; what was received at each step, and after a goodbye."""
    async with connected(port, database) as client:
        received = []
        for step in script:
            await between()
            if dribble:
                await client.dribble(step.data)
            else:
                client.send(step.data)
            received.append(masked(await client.until(step.last, step.times)))
        client.send(TERMINATE)
        received.append(masked(await client.until_closed()))
        return received


class Neighbour:
    """Another client of the same pool, so restless that a session hardly meets the same server twice.

    With two servers in the pool: at one step it holds the one that was used last, at the next it gives it back.
    """

    def __init__(self, client: Raw) -> None:
        self._client = client
        self._holds = False

    async def moves(self) -> None:
        """Begin a transaction, or end it."""
        if self._holds:
            await self._client.ask(query("rollback"))
        else:
            await self._client.ask(query("begin"))
            await self._client.ask(query("select 1"))
        self._holds = not self._holds
