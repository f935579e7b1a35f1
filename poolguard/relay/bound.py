"""Sessions that may live only while a lease is held through this poolguard, as their startup parameter says."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from poolguard.core.errors import InvalidLease, NotLeader
from poolguard.core.ids import SessionId

PARAMETER: Final = "poolguard.lease"
ADMIN_PARAMETER: Final = "poolguard.admin_token"
"""What the console takes. Whoever has it in PGOPTIONS sends it with every connection: it is not told PostgreSQL."""


def lease_of(parameters: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Which lease a client's startup *parameters* name (empty: none), and those that are PostgreSQL's to judge.

    Raises InvalidLease (22023) for a parameter without a name: whoever sends it means to be bound.
    """
    lease = next((value for name, value in parameters.items() if name.lower() == PARAMETER), None)
    if lease == "":
        # Most likely a variable that is not set.
        raise InvalidLease(f"{PARAMETER} names no lease", hint="Write a lease's name, or leave the parameter out.")
    ours = (PARAMETER, ADMIN_PARAMETER)
    return lease or "", {name: value for name, value in parameters.items() if name.lower() not in ours}


def no_leases(lease: str) -> bool:
    """Whether *lease* is held here, where there are no leases."""
    del lease
    return False


class Bound:
    """Who is bound to what. *leads* says whether a lease is held here and trusted now."""

    def __init__(self, leads: Callable[[str], bool]) -> None:
        self._leads: Final = leads
        self._lease_of: Final[dict[SessionId, str]] = {}

    @staticmethod
    def over() -> NotLeader:
        """What a session is told that ends with its lease."""
        return NotLeader(
            "terminating connection: the lease that it is bound to is held no longer",
            hint="Connect again once /leader/NAME of this poolguard answers 200.",
        )

    def require(self, lease: str) -> None:
        """Raise NotLeader (55000) unless *lease* is held here and trusted now; any name may be asked for."""
        if not self._leads(lease):
            raise NotLeader(
                f"the lease that {PARAMETER} names is not held through this poolguard",
                hint="Connect again once /leader/NAME of this poolguard answers 200.",
            )

    def bind(self, session: SessionId, lease: str) -> None:
        """*session* ends with the term of *lease*. Raises NotLeader."""
        self.require(lease)
        self._lease_of[session] = lease

    def unbind(self, session: SessionId) -> None:
        """*session* has ended."""
        self._lease_of.pop(session, None)

    def to(self, lease: str) -> Sequence[SessionId]:
        """Who is bound to *lease*."""
        return [session for session, bound in self._lease_of.items() if bound == lease]
