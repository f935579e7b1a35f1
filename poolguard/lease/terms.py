"""The words of a lease, and the limits on what a caller may say. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from poolguard.core.errors import InvalidLease

MIN_TTL_SECONDS: Final = 2.0
MAX_TTL_SECONDS: Final = 86_400.0
MAX_METADATA_BYTES: Final = 4096
MAX_SLOTS: Final = 64
MAX_HOLD_OFF_SECONDS: Final = 3600.0
MAX_TOKEN: Final = 2**53 - 1
"""What a JSON number holds in every language."""

NAME_PART: Final = re.compile(r"[A-Za-z0-9._:/-]{0,128}")
"""Any beginning of a name, the empty one too."""
_RESERVED_ENDINGS: Final = frozenset({"renew", "events", "campaign", "step-down"})
"""Last path segments that mean something else in the HTTP API."""
_HOLDER_LENGTH: Final = 256
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One lease as PostgreSQL had it. The only length of time in it is PostgreSQL's own."""

    name: str
    holder: str | None
    """None: released, or never held."""
    request_id: str | None
    token: int
    timeline: int
    """WAL timeline on which it was last confirmed; 0 when that could not be read."""
    ttl_seconds: float
    acquired_at: datetime | None
    renewed_at: datetime | None
    transitions: int
    metadata: Mapping[str, object] | None
    valid_for_seconds: float
    """What was left of the term when PostgreSQL answered; 0 or less: over."""
    version: int = 0
    """Grows with every change but a plain renewal."""
    step_down: "StepDown | None" = None
    """The holder was asked to step down, this way, and has not yet."""
    held_off: "HoldOff | None" = None
    """After a step-down, while it lasts: who may not begin a term."""

    @property
    def running(self) -> bool:
        """Whether somebody's term had not ended."""
        return self.holder is not None and self.valid_for_seconds > 0

    @property
    def index(self) -> int:
        """Grows with everything that a watcher wants to know of, the end of a term by time too."""
        return 2 * self.version + (not self.running)


@dataclass(frozen=True, slots=True)
class StepDown:
    """How a holder gives its term up: who may have the next one."""

    hold_off_seconds: float = 0.0
    """For so long *preferred* alone may begin a term or, without one, everybody but the holder that steps down."""
    preferred: str | None = None


AT_ONCE: Final = StepDown()
"""Anybody may have the next term."""


@dataclass(frozen=True, slots=True)
class HoldOff:
    """A hold-off that runs."""

    seconds: float
    """What was left of it when PostgreSQL answered."""
    holder: str
    """Who stepped down."""
    preferred: str | None

    def admits(self, holder: str) -> bool:
        """Whether *holder* may begin a term all the same."""
        return holder != self.holder if self.preferred is None else holder == self.preferred


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A valid wish for a term. Build it with `wanted()`."""

    name: str
    holder: str
    ttl_seconds: float
    request_id: str
    """Names this wish: repeated, it gets the same term, never a second one."""
    metadata: Mapping[str, object] | None = None
    slots: int = 1
    """How many terms may run at once, each a lease of its own: `slot_names`."""

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The leases of which any one will do."""
        return (self.name,) if self.slots == 1 else tuple(f"{self.name}/{slot}" for slot in range(self.slots))


@dataclass(frozen=True, slots=True)
class TermKey:
    """Exactly one term of one holder."""

    name: str
    holder: str
    token: int


def wanted(
    *,
    name: str,
    holder: object,
    ttl_seconds: object,
    request_id: object,
    metadata: object = None,
    slots: object = 1,
) -> Wanted:
    """Check everything a caller said of a wish; raises InvalidLease that names the field and its limits."""
    wish = Wanted(
        name=check_name(name),
        holder=check_holder(holder),
        ttl_seconds=check_ttl(ttl_seconds),
        request_id=check_request_id(request_id),
        metadata=check_metadata(metadata),
        slots=check_slots(slots),
    )
    check_name(wish.slot_names[-1])
    return wish


def term_key(*, name: str, holder: object, token: object) -> TermKey:
    """Check what a caller said to name a term; raises InvalidLease."""
    return TermKey(check_name(name), check_holder(holder), check_token(token))


def check_name(name: str) -> str:
    """Return *name* if it can be a lease's, else raise InvalidLease."""
    if not name or not NAME_PART.fullmatch(name):
        raise InvalidLease("the lease's name must be 1 to 128 of the characters A-Z a-z 0-9 . _ : / -")
    segments = name.split("/")
    if any(segment in {"", ".", ".."} for segment in segments):
        raise InvalidLease(
            "the lease's name has an empty segment, or one that is . or ..",
            hint="Such a path does not survive HTTP clients and proxies.",
        )
    if len(segments) > 1 and segments[-1] in _RESERVED_ENDINGS:
        raise InvalidLease(f"the lease's name ends in /{segments[-1]}, which has a meaning of its own in the API")
    return name


def check_holder(holder: object) -> str:
    """Return *holder* if it can be a holderIdentity, else raise InvalidLease."""
    if not isinstance(holder, str) or not 1 <= len(holder) <= _HOLDER_LENGTH or not holder.isprintable():
        raise InvalidLease(
            f"holderIdentity must be text of 1 to {_HOLDER_LENGTH} printable characters",
            hint="A pod's name, for example; it tells people who leads.",
        )
    return holder


def check_ttl(seconds: object) -> float:
    """Return *seconds* if a term may be that long, else raise InvalidLease."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidLease("leaseDurationSeconds must be a number of seconds, such as 15")
    # Written this way round so that NaN fails too.
    if not MIN_TTL_SECONDS <= seconds <= MAX_TTL_SECONDS:
        raise InvalidLease(
            f"leaseDurationSeconds must be from {MIN_TTL_SECONDS:g} to {MAX_TTL_SECONDS:g}",
            hint="Below 2 seconds a slow answer would already cost the lease.",
        )
    return float(seconds)


def check_slots(slots: object) -> int:
    """Return *slots* if a name may have so many, else raise InvalidLease."""
    if isinstance(slots, bool) or not isinstance(slots, int) or not 1 <= slots <= MAX_SLOTS:
        raise InvalidLease(f"slots must be a whole number from 1 to {MAX_SLOTS}")
    return slots


def step_down(*, hold_off_seconds: object, preferred: object) -> StepDown:
    """Check how a holder is to step down; raises InvalidLease."""
    if (
        isinstance(hold_off_seconds, bool)
        or not isinstance(hold_off_seconds, int | float)
        or not 0 <= hold_off_seconds <= MAX_HOLD_OFF_SECONDS
    ):
        raise InvalidLease(f"holdOffSeconds must be a number from 0 to {MAX_HOLD_OFF_SECONDS:g}")
    return StepDown(float(hold_off_seconds), None if preferred is None else check_holder(preferred))


def check_token(token: object) -> int:
    """Return *token* if a term may have it, else raise InvalidLease."""
    if isinstance(token, bool) or not isinstance(token, int) or not 1 <= token <= MAX_TOKEN:
        raise InvalidLease(
            f"token must be a whole number from 1 to {MAX_TOKEN}", hint="Send the token that the acquire answered."
        )
    return token


def check_request_id(request_id: object) -> str:
    """Return *request_id* if it can be one, else raise InvalidLease."""
    if not isinstance(request_id, str) or not _REQUEST_ID.fullmatch(request_id):
        raise InvalidLease("requestId must be 1 to 128 of the characters A-Z a-z 0-9 . _ : -, a UUID for example")
    return request_id


def check_metadata(metadata: object) -> Mapping[str, object] | None:
    """Return *metadata* if it can be kept with a term, else raise InvalidLease."""
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise InvalidLease("metadata must be a JSON object")
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (ValueError, RecursionError):
        raise InvalidLease("metadata must be plain JSON: no NaN, no lone surrogates, not deeply nested") from None
    if size > MAX_METADATA_BYTES:
        raise InvalidLease(f"metadata is {size} bytes as JSON; at most {MAX_METADATA_BYTES} are kept")
    if "\\u0000" in text.replace("\\\\", ""):
        raise InvalidLease("metadata holds the character U+0000, which PostgreSQL can't keep")
    return metadata
