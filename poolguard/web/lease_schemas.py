"""The JSON of the lease API: what requests may say, and how leases are shown. Shapes follow the Kubernetes Lease."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from poolguard.core.errors import InvalidLease
from poolguard.lease import terms
from poolguard.lease.book import Belief
from poolguard.lease.manager import Standing
from poolguard.lease.terms import TermKey, Wanted

ACQUIRE_KEYS: Final = ("holderIdentity", "leaseDurationSeconds", "requestId", "metadata", "slots")
RENEW_KEYS: Final = ("holderIdentity", "token", "metadata")
RELEASE_KEYS: Final = ("holderIdentity", "token")
PAGE_KEYS: Final = ("after", "prefix", "limit")

DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 200
"""Measured: the rows of 500 kept the event loop busy for up to 7 ms at a time, longer than the relay may wait."""


def parse_acquire(given: Mapping[str, object], *, name: str, default_ttl_seconds: float) -> tuple[Wanted, bool]:
    """Read the body of an acquire; also says whether the caller chose the requestId. Raises InvalidLease."""
    request_id = given.get("requestId")
    ttl_seconds = given.get("leaseDurationSeconds")
    wish = terms.wanted(
        name=name,
        holder=given.get("holderIdentity"),
        ttl_seconds=default_ttl_seconds if ttl_seconds is None else ttl_seconds,
        request_id=str(uuid4()) if request_id is None else request_id,
        metadata=given.get("metadata"),
        slots=given.get("slots", 1),
    )
    return wish, request_id is not None


def parse_renew(given: Mapping[str, object], *, name: str) -> tuple[TermKey, Mapping[str, object] | None]:
    """Read the body of a renewal: the term, and metadata that replaces what was kept. Raises InvalidLease."""
    term = terms.term_key(name=name, holder=given.get("holderIdentity"), token=given.get("token"))
    return term, terms.check_metadata(given.get("metadata"))


def parse_release(query: Mapping[str, str], *, name: str) -> TermKey:
    """Read the query of a release. Raises InvalidLease."""
    return terms.term_key(name=name, holder=query.get("holderIdentity"), token=_digits(query.get("token", "")))


def parse_page(query: Mapping[str, str]) -> tuple[str, str, int]:
    """Read *after*, *prefix* and *limit* of a list. Raises InvalidLease."""
    after, prefix = query.get("after", ""), query.get("prefix", "")
    limit = _digits(query.get("limit", str(DEFAULT_PAGE)))
    if limit is None or not 1 <= limit <= MAX_PAGE:
        raise InvalidLease(f"limit must be a whole number from 1 to {MAX_PAGE}")
    for name in (after, prefix):
        if not terms.NAME_PART.fullmatch(name):
            raise InvalidLease("after and prefix must be (the beginning of) a lease's name")
    return after, prefix, limit


def lease(standing: Standing) -> dict[str, object]:
    """Show one lease. validForMs is a length of time, rounded down: no clock is ever compared."""
    row = standing.row
    return {
        "name": row.name,
        "holderIdentity": row.holder,
        "leaseDurationSeconds": _number(row.ttl_seconds),
        "acquireTime": _time(row.acquired_at),
        "renewTime": _time(row.renewed_at),
        "leaseTransitions": row.transitions,
        "token": row.token,
        "validForMs": int(standing.valid_for_seconds * 1000),
        "metadata": row.metadata,
        "stepDownRequested": row.step_down is not None,
    }


def leader(belief: Belief, valid_for_seconds: float) -> dict[str, object]:
    """Show the term that this process trusts."""
    return {
        "name": belief.name,
        "holderIdentity": belief.holder,
        "token": belief.token,
        "validForMs": int(valid_for_seconds * 1000),
    }


def _digits(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


def _number(seconds: float) -> float | int:
    return int(seconds) if seconds.is_integer() else seconds


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
