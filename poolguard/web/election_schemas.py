"""The JSON of elections: what a campaign asks for, and how it is shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from poolguard.core.errors import InvalidLease
from poolguard.lease import proof, terms
from poolguard.lease.campaign import Phase
from poolguard.lease.campaigns import Run
from poolguard.lease.terms import StepDown, Wanted

CAMPAIGN_KEYS: Final = (
    "holderIdentity",
    "leaseDurationSeconds",
    "requestId",
    "metadata",
    "slots",
    "livenessSeconds",
    "checkPid",
    "checkUrl",
)
WITHDRAW_KEYS: Final = ("requestId",)
STEP_DOWN_KEYS: Final = ("holdOffSeconds", "preferredHolder")
MIN_LIVENESS_SECONDS: Final = 1.0
MAX_LIVENESS_SECONDS: Final = 3600.0
DEFAULT_HOLD_OFF_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A campaign that was asked for."""

    wish: Wanted
    """Its request_id names the campaign."""
    liveness_seconds: float
    prove: proof.Proof | None


def parse_campaign(given: Mapping[str, object], *, name: str, default_ttl_seconds: float) -> Asked:
    """Read the body of a campaign. Raises InvalidLease."""
    ttl_seconds, request_id = given.get("leaseDurationSeconds"), given.get("requestId")
    wish = terms.wanted(
        name=name,
        holder=given.get("holderIdentity"),
        ttl_seconds=default_ttl_seconds if ttl_seconds is None else ttl_seconds,
        request_id=str(uuid4()) if request_id is None else request_id,
        metadata=given.get("metadata"),
        slots=given.get("slots", 1),
    )
    return Asked(wish, _liveness(given.get("livenessSeconds"), wish.ttl_seconds), _proof(given))


def _liveness(seconds: object, ttl_seconds: float) -> float:
    if seconds is None:
        return ttl_seconds
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not MIN_LIVENESS_SECONDS <= seconds <= MAX_LIVENESS_SECONDS
    ):
        raise InvalidLease(
            f"livenessSeconds must be a number from {MIN_LIVENESS_SECONDS:g} to {MAX_LIVENESS_SECONDS:g}",
            hint="For so long the application may go without a sign of life.",
        )
    return float(seconds)


def _proof(given: Mapping[str, object]) -> proof.Proof | None:
    pid, url = given.get("checkPid"), given.get("checkUrl")
    if pid is not None and url is not None:
        raise InvalidLease("either checkPid or checkUrl, not both")
    if pid is not None:
        return proof.of_process(pid)
    return None if url is None else proof.of_url(url)


def parse_withdraw(query: Mapping[str, str]) -> str:
    """Read the query of a withdrawal: the campaign's requestId. Raises InvalidLease."""
    return terms.check_request_id(query.get("requestId"))


def parse_step_down(given: Mapping[str, object]) -> StepDown:
    """Read the body of a step-down. Raises InvalidLease."""
    return terms.step_down(
        hold_off_seconds=given.get("holdOffSeconds", DEFAULT_HOLD_OFF_SECONDS),
        preferred=given.get("preferredHolder"),
    )


def campaign(run: Run, trust_seconds: float) -> dict[str, object]:
    """Show one campaign. *trust_seconds*: for how long its term may be relied on; 0 when it has none."""
    state, leader = run.campaign, run.leader
    leads = state.phase is Phase.LEADING and state.term is not None and trust_seconds > 0
    phase = Phase.WAITING if state.phase is Phase.LEADING and not leads else state.phase
    return {
        "name": state.wish.name,
        "holderIdentity": state.wish.holder,
        "requestId": run.id,
        "phase": phase.value,
        "reason": state.end.value if state.end is not None else None,
        "lease": state.term.name if leads and state.term is not None else None,
        "token": state.term.token if leads and state.term is not None else None,
        "validForMs": int(trust_seconds * 1000) if leads else 0,
        "leaseDurationSeconds": state.wish.ttl_seconds,
        "livenessSeconds": state.liveness_seconds,
        "leader": leader.holder if leader is not None else None,
        "leaderMetadata": leader.metadata if leader is not None else None,
    }
