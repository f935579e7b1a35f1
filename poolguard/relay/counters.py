"""What the relay counts, as plain attributes that metrics reads at scrape time."""

from collections import Counter
from enum import StrEnum
from typing import Final

from poolguard.relay.tally import Tally

MAX_ERROR_KEYS: Final = 500


class Refused(StrEnum):
    """Why a client was turned away before its session began."""

    MAX_CLIENTS = "max_clients"
    MAX_LOGINS = "max_logins"
    LOGIN_TIMEOUT = "login_timeout"
    PROTOCOL = "protocol"
    TLS = "tls"
    AUTHENTICATION = "authentication"
    UPSTREAM = "upstream"
    STOPPING = "stopping"
    NOT_LEADER = "not_leader"


class RelayCounters:
    """All sessions together."""

    def __init__(self) -> None:
        self.clients_accepted_total = 0
        self.clients_refused_total: Counter[str] = Counter({reason.value: 0 for reason in Refused})
        self.clients_cut_off_total = 0
        self.certificate_expires_at: float | None = None
        """Wall clock; None without TLS for clients."""
        self.cancel_requests_total = 0
        self.deferred_begins_total = 0
        self.protocol_violations_total = 0
        self.tally: Final = Tally()
        self.errors_total: Counter[tuple[str, str]] = Counter()
        """ErrorResponses of PostgreSQL that went to clients, by (pool, SQLSTATE)."""
        self.retries_total: Counter[tuple[str, str, str]] = Counter()
        """Statements that were refused in a pool that retries: by (pool, SQLSTATE, outcome)."""
        self.pins_total: Counter[tuple[str, str]] = Counter()
        """By (pool, reason)."""
        self.notifications_total: Counter[str] = Counter()
        """Handed to clients by the listening servers, by pool; one for each client."""
        self.notifications_dropped_total: Counter[str] = Counter()
        """For clients that did not read, or stayed in a transaction, by pool."""
        self.notification_gaps_total: Counter[str] = Counter()
        """How often a listening server was lost while clients listened, by pool."""

    def count_error(self, pool: str, sqlstate: str) -> None:
        """Count one ErrorResponse. RAISE can make up any SQLSTATE: past a bound they are counted as `other`."""
        key = (pool, sqlstate)
        if key not in self.errors_total and len(self.errors_total) >= MAX_ERROR_KEYS:
            key = (pool, "other")
        self.errors_total[key] += 1
