"""Which backends no rule may end, whatever it says. What statements tell is judged by `exemptions`. Pure."""

from enum import StrEnum
from typing import Final

from poolguard.guard.locks.backends import Backend
from poolguard.wire.classes import StatementClass, classes_of

POOLGUARDS_OWN: Final = frozenset({"poolguard-observer", "poolguard-lease"})
"""application_name of connections that no pool has: this poolguard's, and those of others."""

_COMMITS: Final = frozenset({StatementClass.COMMIT, StatementClass.PREPARE_TRANSACTION})


class Untouchable(StrEnum):
    """Why a backend is left alone. Stands in an incident's `spared_by`."""

    SUPERUSER = "superuser"
    """PostgreSQL would refuse it to anybody but a superuser, and an administrator's work is a person's to end."""
    REPLICATION = "waits_for_replication"
    """Its work is committed here and waits for a standby: nobody could say any more what became of it."""
    COMMIT = "commit"
    """It commits, or prepares to: cut now, nobody could say whether the work was kept."""
    POOLGUARD = "poolguard"
    """Another poolguard's own connection."""


def untouchable(backend: Backend) -> Untouchable | None:
    """Why nothing may end *backend*; None: a rule may."""
    if backend.superuser:
        return Untouchable.SUPERUSER
    if backend.wait_event == "IPC/SyncRep":
        return Untouchable.REPLICATION
    if backend.state == "active" and backend.statement and not _COMMITS.isdisjoint(classes_of(backend.statement.text)):
        return Untouchable.COMMIT
    if backend.application_name in POOLGUARDS_OWN:
        return Untouchable.POOLGUARD
    return None
