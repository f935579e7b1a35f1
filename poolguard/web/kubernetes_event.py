"""An incident as a Kubernetes Event on the pod: what `kubectl describe pod` says of it. Pure.

events.k8s.io/v1, within what its API server checks: note of at most 1 kB, reason and action of at most 128 characters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from poolguard.core.units import format_duration
from poolguard.guard.history import Action
from poolguard.guard.incidents import Incident, IncidentKind, IncidentOutcome

NOTE_BYTES: Final = 1000
NAME_CHARACTERS: Final = 200
"""Of the pod's name, in the Event's: that must not be longer than 253 in all."""
CONTROLLER: Final = "poolguard"
POOL_EXHAUSTED: Final = "PoolExhausted"

_REASONS: Final = {
    Action.CANCEL: "StatementCancelled",
    Action.ROLLBACK: "TransactionRolledBack",
    Action.TERMINATE: "SessionTerminated",
}
_DID: Final = {
    Action.CANCEL: "cancelled a statement of",
    Action.ROLLBACK: "rolled back a transaction of",
    Action.TERMINATE: "ended a session of",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """Where this process runs."""

    name: str
    namespace: str
    uid: str = ""
    """Without it `kubectl get events` shows Events, and `kubectl describe pod` does not."""


def reason_of(incident: Incident) -> str | None:
    """What the Event is called; None: *incident* is not told, because nothing was ended and nobody waited in vain."""
    if incident.kind is IncidentKind.STARVATION:
        return POOL_EXHAUSTED
    if incident.outcome is not IncidentOutcome.DONE or incident.action is None:
        return None
    return _REASONS.get(incident.action)


def event_of(incident: Incident, pod: Pod, *, name: str, now: float) -> Mapping[str, object]:
    """The Event to create, as *name*, at *now* (seconds since 1970)."""
    regarding = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "namespace": pod.namespace}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": pod.namespace},
        "eventTime": micro_time(now),
        "reportingController": CONTROLLER,
        "reportingInstance": pod.name[:128],
        "action": (incident.action.value if incident.action is not None else "wait").capitalize(),
        "reason": reason_of(incident) or CONTROLLER,
        "regarding": regarding | ({"uid": pod.uid} if pod.uid else {}),
        "type": "Warning",
        "note": note_of(incident),
    }


def series_of(count: int, now: float) -> Mapping[str, object]:
    """What changes when the same happened again: *count* times in all, the latest at *now*."""
    return {"series": {"count": count, "lastObservedTime": micro_time(now)}}


def note_of(incident: Incident) -> str:
    """One line for people: no text of a statement, only names, ages, advice and the incident's id."""
    if incident.kind is IncidentKind.STARVATION:
        waited = format_duration(incident.waited_seconds)
        said = f"Pool {incident.pool}: {incident.waiter or 'a client'} waited {waited} for a server in vain."
    else:
        said = f"poolguard {_DID.get(incident.action or Action.WARN, 'acted on')} {_whom(incident)}{_why(incident)}."
    return _cut(f"{said} {incident.advice} (incident {incident.id})")


def _whom(incident: Incident) -> str:
    party = incident.transaction
    name = party.application_name if party is not None else ""
    where = f" in pool {incident.pool}" if incident.pool else ", which is not its own,"
    return f"{name or 'a client without application_name'}{where}"


def _why(incident: Incident) -> str:
    if incident.rule is None:
        return f" on {incident.actor}'s order"
    if incident.threshold is None:
        return f" by rule {incident.rule}"
    actual, limit = (
        format_duration(incident.threshold.actual_seconds),
        format_duration(incident.threshold.limit_seconds),
    )
    return f" by rule {incident.rule} after {actual} (it allows {limit})"


def _cut(text: str) -> str:
    raw = text.encode(errors="replace")
    return text if len(raw) <= NOTE_BYTES else raw[: NOTE_BYTES - 3].decode(errors="ignore") + "..."


def micro_time(seconds: float) -> str:
    """A time as the API server wants it: `2026-11-21T08:30:00.123456Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
