"""An incident as one line of the log: what happened, to whom, and what to do, before the whole record. Pure.

Messages are constant, so that they can be searched and counted; a warning is never told as an action.
"""

from typing import Final

from poolguard.guard.history import Action
from poolguard.guard.incidents import EndedTerm, Incident, IncidentKind, IncidentOutcome, Party

WHOLE: Final = "incident"
"""The field with the whole record."""

_DONE: Final = {
    Action.WARN: "a transaction passed a warning step; nothing was ended",
    Action.CANCEL: "a statement was cancelled",
    Action.ROLLBACK: "a transaction was rolled back; its session goes on",
    Action.TERMINATE: "a session was ended",
}
_DONE_TO_FOREIGN: Final = {
    Action.WARN: "a backend that is not poolguard's passed a warning step; nothing was ended",
    Action.CANCEL: "a statement of a backend that is not poolguard's was cancelled",
    Action.TERMINATE: "a backend that is not poolguard's was ended",
}
_NOT_DONE: Final = {
    IncidentOutcome.OBSERVED: "a rule matched; nothing was done, for its mode is observe",
    IncidentOutcome.VICTIM_MOVED: "what a rule or a person wanted to end was over already; nothing was done",
    IncidentOutcome.REFUSED: "what was to be ended could not be, in the state that it was in",
    IncidentOutcome.FAILED: "what was to be ended could not be; the cause is told above",
    IncidentOutcome.NO_PRIVILEGE: "what was to be ended could not be: PostgreSQL does not let this role",
    IncidentOutcome.BUDGET: "a transaction was left alone: the budget of its policy is used up",
    IncidentOutcome.SPARED: "a transaction was left alone: such work is not ended",
    IncidentOutcome.TIMEOUT: "a client waited for a server in vain",
    IncidentOutcome.QUEUE_FULL: "a client was refused at once: the queue for a server was full",
}
_FORCED: Final = "a lease's term was ended by force"
_NOT_FORCED: Final = "a lease's term was to be ended by force; PostgreSQL did not say that it was"
_DEADLOCK: Final = "a deadlock: PostgreSQL ended one of the statements that waited for each other"


def message(incident: Incident) -> str:
    """What happened, in one sentence out of a dozen."""
    if incident.kind is IncidentKind.DEADLOCK:
        return _DEADLOCK
    if incident.kind is IncidentKind.LEASE:
        return _FORCED if incident.outcome is IncidentOutcome.DONE else _NOT_FORCED
    if incident.outcome is IncidentOutcome.DONE and incident.action is not None:
        done = _DONE_TO_FOREIGN if incident.kind is IncidentKind.FOREIGN else _DONE
        return done[incident.action]
    return _NOT_DONE.get(incident.outcome, "an incident")


def facts(incident: Incident) -> dict[str, object]:
    """Who, which, for how long, and the advice; what does not apply is left out. The whole record comes last."""
    party = incident.transaction or (incident.holders[0] if incident.holders else None)
    told: dict[str, object | None] = {
        "incident_id": incident.id,
        "pool": incident.pool,
        "rule": incident.rule,
        "action": incident.action,
        "outcome": incident.outcome,
        "spared_by": incident.spared_by,
        "actor": incident.actor,
        "reason": incident.reason,
        **(_of_term(incident.term) if incident.term is not None else {}),
        "waiter": incident.waiter,
        "waited_seconds": round(incident.waited_seconds, 3),
        **(_of_party(party) if party is not None else {}),
        "advice": incident.advice,
    }
    return {**{key: value for key, value in told.items() if value}, WHOLE: incident.as_json()}


def _of_term(term: EndedTerm) -> dict[str, object]:
    return {"lease": term.lease, "holder": term.holder, "token": term.token}


def _of_party(party: Party) -> dict[str, object]:
    statement = party.fingerprints[-1] if party.fingerprints else None
    return {
        "application": party.application_name,
        "client": party.client_address,
        "transaction": party.id,
        "backend_pid": party.backend_pid,
        "state": party.phase,
        "state_seconds": round(party.phase_seconds, 3),
        "blocking": party.blocking,
        "blocking_seconds": round(party.blocking_seconds, 3),
        "statement": statement.text if statement is not None else "",
    }
