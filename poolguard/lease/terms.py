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
MAX_TOKEN: Final = 2**53 - 1
"""What a JSON number holds in every language."""

NAME_PART: Final = re.compile(r"[A-Za-z0-9._:/-]{0,128}")
"""Any beginning of a name, the empty one too."""
_RESERVED_ENDINGS: Final = frozenset({"renew", "events"})
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

    @property
    def running(self) -> bool:
        """Whether somebody's term had not ended."""
        return self.holder is not None and self.valid_for_seconds > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A valid wish for a term. Build it with `wanted()`."""

    name: str
    holder: str
    ttl_seconds: float
    request_id: str
    """Names this wish: repeated, it gets the same term, never a second one."""
    metadata: Mapping[str, object] | None = None


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
) -> Wanted:
    """Check everything a caller said of a wish; raises InvalidLease that names the field and its limits."""
    return Wanted(
        name=check_name(name),
        holder=check_holder(holder),
        ttl_seconds=check_ttl(ttl_seconds),
        request_id=check_request_id(request_id),
        metadata=check_metadata(metadata),
    )


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
