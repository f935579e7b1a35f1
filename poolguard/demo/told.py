"""Incidents and log lines in a sentence. Pure."""

from collections.abc import Mapping
from typing import Any, Final

_FACTS: Final = ("pool", "policy", "rule", "action", "outcome", "application_name", "incident_id")


def incident(record: Mapping[str, Any]) -> str:
    """One rollback, from /v1/incidents."""
    party, threshold = record["transaction"], record["threshold"]
    return (
        f"{record['id']}: rolled back {party['application_name']} in pool {record['pool']}, idle for "
        f"{threshold['actual_seconds']:.2f} s (allowed {threshold['limit_seconds']:g} s), "
        f"backend {party['backend_pid']} kept"
    )


def log_line(line: Mapping[str, Any]) -> str:
    """A line of the JSON log, with the facts that say the most."""
    facts = " ".join(f"{name}={line[name]}" for name in _FACTS if isinstance(line.get(name), str | int | float))
    return f"{line.get('level', '')} {line.get('message', '')} {facts}".strip()
