"""How one stands for a lease: which request to send, and what to make of its answer."""

import random
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from poolguard.client.term import Term, ask_again_after
from poolguard.core.errors import LeaseHeld, LeaseHeldOff, LeaseLost, LeaseUnavailable, LeaseUnknown, PoolguardError

UNANSWERED_PAUSE_SECONDS: Final = 0.5
"""After an attempt that poolguard could not carry out, give or take a half."""
SPREAD_SECONDS: Final = 0.02
RELEASE_SECONDS: Final = 2.0
"""For giving back a term at the end: whoever leaves waits no longer."""
_CHANCE: Final = random.SystemRandom().random


def runs_for(outcome: Term | PoolguardError) -> float | None:
    """For how many seconds the term runs that is in the way: its release is worth waiting for. None: there is none."""
    if isinstance(outcome, LeaseHeld) and not isinstance(outcome, LeaseLost | LeaseHeldOff):
        return outcome.valid_for_ms / 1000
    return None


def attempt(acquire: Callable[..., Term], request_id: str) -> Term | PoolguardError:
    """What came of one attempt under *request_id*: the term, or why there is none."""
    try:
        return acquire(request_id=request_id)
    except PoolguardError as error:
        return error


class Candidate:
    """Stands for a lease until it gets a term. *chance* gives numbers from 0 to 1, to spread contenders."""

    def __init__(
        self,
        *,
        chance: Callable[[], float] = _CHANCE,
        new_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self._chance: Final = chance
        self._new_id: Final = new_id
        self.request_id = new_id()
        """For the next attempt. It stays the same until it had its effect: a lost answer is found again by it."""

    def spread(self) -> float:
        """How long to wait after a release that all contenders heard of in the same moment."""
        return SPREAD_SECONDS * self._chance()

    def weigh(self, outcome: Term | PoolguardError) -> float | None:
        """How long to wait before the next attempt; None: elected. Raises *outcome* if asking again can't help."""
        match outcome:
            case Term():
                if outcome.trusted:
                    return None
                self.request_id = self._new_id()  # it was found, and is over
                return 0.0
            case LeaseLost():
                self.request_id = self._new_id()
                return 0.0
            case LeaseHeld():
                return ask_again_after(outcome.valid_for_ms / 1000, self._chance())
            case LeaseUnavailable() | LeaseUnknown():
                return UNANSWERED_PAUSE_SECONDS * (0.5 + self._chance())
            case _:
                raise outcome
