"""A deadlock's DETAIL taken apart: who waited for whom. By its numbers, because its words are translated. Pure.

PostgreSQL writes one line for each edge (src/backend/storage/lmgr/deadlock.c): the pid that waits comes first, the pid
that blocks it last; between them may stand numbers of relations, rows and transactions.
"""

import re
from typing import Final, NamedTuple

MOST_EDGES: Final = 64
_NUMBER: Final = re.compile(r"\d{1,10}")


class Edge(NamedTuple):
    """*waiter* waited for *blocker*: pids of backends."""

    waiter: int
    blocker: int


def edges_of(detail: str) -> tuple[Edge, ...]:
    """The edges of the cycle, in PostgreSQL's order: the first waiter is the victim. Empty if it can't be read.

    What was read must be a cycle, so that a language with another order of words gives nothing rather than nonsense.
    """
    edges: list[Edge] = []
    for line in detail.splitlines()[:MOST_EDGES]:
        numbers = _NUMBER.findall(line)
        if len(numbers) < 2:
            continue
        edges.append(Edge(int(numbers[0]), int(numbers[-1])))
    for read in (edges, [Edge(edge.blocker, edge.waiter) for edge in edges]):
        if _is_cycle(read):
            return tuple(read)
    return ()


def _is_cycle(edges: list[Edge]) -> bool:
    ahead = dict(edges)
    if not edges or len(ahead) != len(edges):
        return False
    at = start = edges[0].waiter
    for _ in edges[1:]:
        at = ahead.get(at, -1)
        if at in {start, -1}:
            return False
    return ahead.get(at) == start
