"""Which incidents are told anew, and which are only counted, so that a storm of the same is one message. Pure."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from poolguard.guard.incidents import Incident

MOST_KINDS: Final = 1000
"""Kinds of incidents that are remembered; the one that was told longest ago is forgotten first."""


@dataclass(slots=True)
class _Told:
    at: float
    repeats: int = 0


class Digest:
    """Remembers what was told. What makes incidents one kind: see `kind_of`."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[object, ...], _Told] = OrderedDict()

    def __len__(self) -> int:
        return len(self._told)

    def take(self, incident: Incident, now: float, repeat_after: float) -> int | None:
        """How many like *incident* were not told since the last that was; None: don't tell this one either."""
        key = kind_of(incident)
        told = self._told.get(key)
        if told is not None and now - told.at < repeat_after:
            told.repeats += 1
            return None
        repeats = 0 if told is None else told.repeats
        self._told[key] = _Told(now)
        self._told.move_to_end(key)
        if len(self._told) > MOST_KINDS:
            self._told.popitem(last=False)
        return repeats


def kind_of(incident: Incident) -> tuple[object, ...]:
    """What incidents of one kind have in common."""
    party = incident.transaction
    return (
        incident.kind,
        incident.pool,
        incident.term.lease if incident.term is not None else "",
        incident.rule,
        incident.action,
        incident.outcome,
        incident.classification,
        party.application_name if party is not None else "",
        party.fingerprints[-1].id if party is not None and party.fingerprints else "",
    )
