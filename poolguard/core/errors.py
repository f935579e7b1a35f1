"""Every failure that reaches somebody, with its SQLSTATE and HTTP status in one place.

Raised once, mapped twice: the relay turns one into an ErrorResponse, the web into a status and a JSON body.
Whose fault it is decides the type: `ClientViolation` blames the client, `ServerViolation` PostgreSQL,
`SettingsError` the operator; anything that is not a PoolguardError is our own bug.
"""

from collections.abc import Mapping
from typing import ClassVar


class PoolguardError(Exception):
    """Base of all. *detail* and *hint* go out as the fields of the same names; neither may hold a secret."""

    sqlstate: str = "XX000"
    http_status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    retry_after_seconds: ClassVar[int] = 1
    """Goes out as `Retry-After` with HTTP status 503."""

    @property
    def fields(self) -> Mapping[str, object]:
        """What else belongs in the HTTP body, beside error, message, detail and hint."""
        return {}

    def __init__(self, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint


class ClientViolation(PoolguardError):
    """The client broke the protocol or a limit (08P01 protocol_violation)."""

    sqlstate = "08P01"
    http_status = 400
    code = "protocol_violation"


class ServerViolation(PoolguardError):
    """PostgreSQL, or whatever answers in its place, broke the protocol. Its server is closed."""

    sqlstate = "08P01"
    http_status = 502
    code = "server_violation"


class NotSupported(PoolguardError):
    """Something that PostgreSQL can do and poolguard, on purpose, does not (0A000)."""

    sqlstate = "0A000"
    http_status = 400
    code = "not_supported"


class SettingsError(PoolguardError):
    """The settings can't be used. The message holds every problem, a line each (F0000)."""

    sqlstate = "F0000"
    http_status = 422
    code = "settings"


class AuthenticationFailed(PoolguardError):
    """Wrong user or password (28P01), the same for both, so that neither can be guessed."""

    sqlstate = "28P01"
    http_status = 401
    code = "authentication_failed"


class InvalidAuthorization(PoolguardError):
    """The client did not say who it is, or says it in a way that PostgreSQL refuses (28000)."""

    sqlstate = "28000"
    http_status = 401
    code = "invalid_authorization"


class NotAllowed(PoolguardError):
    """Known, but not allowed (42501)."""

    sqlstate = "42501"
    http_status = 403
    code = "not_allowed"


class UnknownPool(PoolguardError):
    """No pool, session or transaction of that name (3D000)."""

    sqlstate = "3D000"
    http_status = 404
    code = "not_found"


class TooManyClients(PoolguardError):
    """`limits.max_clients` is reached (53300)."""

    sqlstate = "53300"
    http_status = 503
    code = "too_many_clients"


class PoolExhausted(PoolguardError):
    """A wait ran out of time or its queue was full (53300). Nothing was sent to PostgreSQL: safe to repeat."""

    sqlstate = "53300"
    http_status = 503
    code = "query_wait_timeout"


class LaneBusy(PoolExhausted):
    """A lane let the transaction in neither at once nor in time (53300). Nothing was sent: safe to repeat."""

    code = "lane_busy"


class UpstreamUnavailable(PoolguardError):
    """No connection to PostgreSQL could be opened (08001)."""

    sqlstate = "08001"
    http_status = 503
    code = "upstream_unavailable"


class UpstreamRefused(UpstreamUnavailable):
    """PostgreSQL answered a login with an ERROR: its own SQLSTATE and texts are passed on."""

    code = "upstream_refused"

    def __init__(self, message: str, *, sqlstate: str, detail: str = "", hint: str = "") -> None:
        super().__init__(message, detail=detail, hint=hint)
        self.sqlstate = sqlstate


class ServerLost(PoolguardError):
    """The connection to PostgreSQL broke while the client held it (08006). Nothing is retried."""

    sqlstate = "08006"
    http_status = 502
    code = "server_lost"


class ShuttingDown(PoolguardError):
    """poolguard stops (57P01)."""

    sqlstate = "57P01"
    http_status = 503
    code = "shutting_down"


class Canceled(PoolguardError):
    """The client cancelled its own wait (57014)."""

    sqlstate = "57014"
    http_status = 409
    code = "canceled"


class IdleTransactionEnded(PoolguardError):
    """The guard rolled the transaction back because it stood idle (25P03)."""

    sqlstate = "25P03"
    http_status = 409
    code = "idle_transaction_ended"


class OldTransactionEnded(PoolguardError):
    """The guard ended the transaction because of its age (25P04)."""

    sqlstate = "25P04"
    http_status = 409
    code = "old_transaction_ended"


class InvalidLease(PoolguardError):
    """A lease request that breaks a limit; the message names the field and what may be written there."""

    sqlstate = "22023"
    http_status = 400
    code = "bad_request"


class LeaseNotFound(PoolguardError):
    """Nobody has ever held a lease of that name."""

    sqlstate = "02000"
    http_status = 404
    code = "lease_not_found"


class LeaseHeld(PoolguardError):
    """Another holder's term still runs. Nothing was changed."""

    sqlstate = "55P03"
    http_status = 409
    code = "lease_held"

    def __init__(self, message: str, *, holder: str | None, valid_for_ms: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.holder = holder
        self.valid_for_ms = valid_for_ms

    @property
    def fields(self) -> Mapping[str, object]:
        """Who holds it, and for how long unless renewed (0: free now)."""
        return {"holderIdentity": self.holder, "validForMs": self.valid_for_ms}


class LeaseHeldOff(LeaseHeld):
    """The last holder stepped down in favour of others, and its hold-off still runs. Nothing was changed."""

    code = "lease_held_off"


class LeaseLost(LeaseHeld):
    """The term that was named has ended: its holder must stop at once."""

    code = "lease_lost"


class NotLeader(PoolguardError):
    """No term of that name is held through this poolguard and trusted now."""

    sqlstate = "55000"
    http_status = 503
    code = "not_leader"


class LeaseUnavailable(PoolguardError):
    """PostgreSQL could not be asked, or refused. Nothing was changed: safe to repeat."""

    sqlstate = "08001"
    http_status = 503
    code = "lease_unavailable"


class LeaseBusy(LeaseUnavailable):
    """Too many lease requests at once. Nothing was changed."""

    sqlstate = "53400"
    code = "lease_busy"


class LeaseUnknown(PoolguardError):
    """It was sent and no answer came: it may have taken effect. Trust in a term is not extended."""

    sqlstate = "08007"
    http_status = 503
    code = "lease_unknown"


class EndedByOperator(PoolguardError):
    """A person ended the transaction, over HTTP or the console (57000 operator_intervention)."""

    sqlstate = "57000"
    http_status = 409
    code = "ended_by_operator"
