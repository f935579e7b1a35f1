"""A lock graph with a root that is not ours, in front of a session of ours."""

from datetime import timedelta
from typing import Any

from poolguard.core.ids import SessionId, TransactionId
from poolguard.guard.locks.backends import Backend, Identity
from poolguard.guard.locks.graph import LockGraph
from tests.unit.guard.locks.builders import NOON, backend, graph_of, wait

OURS = TransactionId(SessionId(7), 1)
PSQL: dict[str, Any] = {
    "sql": "UPDATE item SET n = 'hidden' /* ticket 7 */",
    "user": "dev",
    "database": "shop",
    "application_name": "psql",
    "client_address": "10.0.0.9:51234",
    "transaction_seconds": 40.0,
    "state_seconds": 30.0,
}


def psql(state: str | None = "idle in transaction", *, pid: int = 1, began: float = 0.0, **rest: Any) -> Backend:
    """Somebody's psql. *began*: seconds after noon, which tell one of its transactions from the next."""
    return backend(pid, state, xact_start=NOON + timedelta(seconds=began), **{**PSQL, **rest})


def graph(*roots: Backend, waited: float = 12.0, ours: bool = True) -> LockGraph:
    """Behind each of *roots* waits one session, of ours or not, for *waited* seconds."""
    waits = [wait(100 + root.pid, root.pid, seconds=waited) for root in roots]
    mine: dict[str, Any] = {"pool": "app", "transaction": OURS} if ours else {}
    return graph_of(waits, *roots, *(backend(100 + root.pid, sql="UPDATE item SET n = 1", **mine) for root in roots))


def identity(pid: int, state: str = "idle in transaction", began: float = 0.0) -> Identity:
    return psql(state, pid=pid, began=began).identity
