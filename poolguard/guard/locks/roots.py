"""What kind of trouble a root blocker is, and what to do about it. Pure."""

import re
from enum import StrEnum
from typing import Final

from poolguard.guard.locks.graph import Tree


class RootKind(StrEnum):
    """What the root of a tree of waiters does while they wait."""

    LEAK = "idle_in_transaction"
    ACTIVE = "active"
    CLIENT = "waits_for_its_client"
    """A statement runs, and its client does not read, or does not send."""
    REPLICATION = "waits_for_replication"
    DDL = "ddl"
    AUTOVACUUM = "autovacuum"
    PREPARED = "prepared_transaction"
    SESSION_LOCK = "idle_with_session_lock"
    FOREIGN = "foreign"
    """What it does may not be seen: the role lacks pg_read_all_stats."""


ADVICE: Final = {
    RootKind.LEAK: "Its client began a transaction, took locks and fell silent: find who forgot to end it.",
    RootKind.ACTIVE: "Its statement is slow: look at its plan, or do less in one transaction.",
    RootKind.CLIENT: "Its client does not read the result, or does not send what it began to: look at that process.",
    RootKind.REPLICATION: "A commit waits for a synchronous standby: look at replication; ending it helps nobody.",
    RootKind.DDL: "A change of the schema holds its lock: use lock_timeout, and small steps, or let it finish.",
    RootKind.AUTOVACUUM: "Autovacuum yields by itself, unless it prevents wraparound: then let it finish.",
    RootKind.PREPARED: "A two-phase transaction was prepared and never finished: COMMIT PREPARED or ROLLBACK PREPARED.",
    RootKind.SESSION_LOCK: "An idle session holds an advisory lock: its owner must unlock it, or go.",
    RootKind.FOREIGN: "It belongs to another role. GRANT pg_read_all_stats to poolguard's role to see what it does.",
}

_DDL: Final = re.compile(
    r"(?:alter|create|drop|truncate|reindex|cluster|vacuum full|refresh materialized|lock table|comment on)\b"
)


def kind_of(tree: Tree) -> RootKind:
    """Classify the root of *tree* by what pg_stat_activity says of it."""
    backend = tree.backend
    if not tree.root.pid:
        return RootKind.PREPARED
    if backend is None or (not backend.state and backend.kind == "client backend"):
        return RootKind.FOREIGN
    if backend.kind == "autovacuum worker":
        return RootKind.AUTOVACUUM
    if backend.state.startswith("idle in transaction"):
        return RootKind.LEAK
    if backend.state == "idle":
        return RootKind.SESSION_LOCK
    if backend.wait_event == "IPC/SyncRep":
        return RootKind.REPLICATION
    if backend.wait_event.startswith("Client/"):
        return RootKind.CLIENT
    if backend.statement is not None and _DDL.match(backend.statement.text):
        return RootKind.DDL
    return RootKind.ACTIVE
