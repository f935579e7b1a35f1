"""Incidents of backends that are not ours: who it was, whom it blocked, what came of it, and how to exempt it. Pure."""

from typing import Final

from poolguard.guard.evidence import MAX_NAME, classify
from poolguard.guard.foreign.suspects import Suspect
from poolguard.guard.history import Action
from poolguard.guard.incidents import (
    ClientSees,
    Incident,
    IncidentKind,
    IncidentMode,
    IncidentOutcome,
    Matched,
    Party,
    Threshold,
    TimelineStep,
)
from poolguard.guard.locks.roots import ADVICE, kind_of
from poolguard.guard.locks.tell import incident_tree
from poolguard.guard.rules import Verdict
from poolguard.guard.wording import exemption_for

SECTION: Final = "foreign_blockers"

_NO_PRIVILEGE: Final = (
    "PostgreSQL does not let poolguard's role do that: GRANT pg_signal_backend, and pg_read_all_stats, to it. "
)
_SEES: Final = {
    Action.CANCEL: ClientSees(sqlstate="57014", severity="ERROR", when="at once, from PostgreSQL"),
    Action.TERMINATE: ClientSees(sqlstate="57P01", severity="FATAL", when="at once, from PostgreSQL"),
}
_REACHES_CLIENT: Final = frozenset({IncidentOutcome.DONE, IncidentOutcome.FAILED, IncidentOutcome.OBSERVED})


def incident_of(
    suspect: Suspect,
    verdict: Verdict,
    outcome: IncidentOutcome,
    *,
    incident_id: str,
    at: float,
    settings_hash: str,
    kills_left: int,
    seconds: float = 0.0,
    spared_by: str | None = None,
    timeline: tuple[TimelineStep, ...] = (),
) -> Incident:
    """Describe what became of *verdict*, decided at *at* (seconds since 1970), which took *seconds*."""
    tree = suspect.tree
    advice = ADVICE[kind_of(tree)]
    return Incident(
        id=incident_id,
        at=at,
        kind=IncidentKind.FOREIGN,
        mode=IncidentMode(verdict.mode.value),
        pool="",
        policy=SECTION,
        settings_hash=settings_hash,
        rule=verdict.rule,
        action=verdict.action,
        outcome=outcome,
        outcome_seconds=seconds,
        threshold=Threshold(limit_seconds=verdict.limit_seconds, actual_seconds=verdict.actual_seconds),
        matched=tuple(Matched(key=key, wanted=wanted, found=found) for key, wanted, found in verdict.matched),
        also_matched=verdict.also,
        spared_by=spared_by,
        transaction=_party(suspect),
        backend=suspect.backend.identity,
        lock_tree=incident_tree(tree),
        client_sees=_SEES.get(verdict.action) if outcome in _REACHES_CLIENT else None,
        timeline=timeline,
        kills_left=kills_left,
        classification=classify(suspect.transaction),
        advice=_NO_PRIVILEGE + advice if outcome is IncidentOutcome.NO_PRIVILEGE else advice,
        exemption=exemption_for(suspect.transaction, verdict.rules, section=(SECTION,)),
    )


def _party(suspect: Suspect) -> Party:
    transaction, backend = suspect.transaction, suspect.backend
    return Party(
        id=f"pid {backend.pid}",  # no transaction of ours that somebody could act on
        pool="",
        user=transaction.user[:MAX_NAME],
        database=transaction.database[:MAX_NAME],
        application_name=transaction.application_name[:MAX_NAME],
        client_address=transaction.client_address,
        backend_pid=backend.pid,
        phase=backend.state or "not to be seen",
        phase_seconds=transaction.phase_seconds,
        transaction_seconds=transaction.transaction_seconds,
        statement_seconds=transaction.statement_seconds,
        checkout_seconds=transaction.checkout_seconds,
        statements=0,
        pin="",
        fingerprints=(backend.statement,) if backend.statement is not None else (),
        tags={},
        statement_classes=tuple(sorted(suspect.traits.classes)),
        blocking=transaction.blocking,
        blocking_seconds=transaction.blocking_seconds,
    )
