"""Every metric in one table: name, kind, help, labels. docs/metrics.md and dashboards are compared with it.

Rules (Prometheus, "Metric and label naming"): base units; counters end in `_total`; constant facts end in `_info`
and are 1; no averages or percentiles; no label by process id, port or statement.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a metric's values mean."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Metric:
    """One family. *name* is as scraped; a histogram's samples add `_bucket`, `_sum` and `_count` to it."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, text, labels)


def _histogram(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, text, labels)


def _info(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.INFO, text, labels)


# Pools.
POOL_INFO: Final = _info("poolguard_pool_info", "A pool, its mode and its policy.", "pool", "mode", "policy")
POOL_SIZE_LIMIT: Final = _gauge("poolguard_pool_size_limit", "Most servers that the pool may have.", "pool")
POOL_WAITING_LIMIT: Final = _gauge("poolguard_pool_waiting_limit", "Most clients that may wait at once.", "pool")
SERVER_CONNECTIONS: Final = _gauge(
    "poolguard_server_connections",
    "Servers by state: idle (free), held (with a session, or being reset), opening.",
    "pool",
    "state",
)
PINNED_SERVERS: Final = _gauge(
    "poolguard_pinned_servers", "Held servers that session state keeps from going back.", "pool"
)
CLIENTS_WAITING: Final = _gauge("poolguard_clients_waiting", "Clients that wait for a server now.", "pool")
OLDEST_WAIT: Final = _gauge(
    "poolguard_oldest_wait_seconds",
    "How long the first in the queue has waited; 0 when nobody waits.",
    "pool",
)
WAIT_SECONDS: Final = _histogram("poolguard_wait_seconds", "Waits for a server, also those that timed out.", "pool")
WAIT_TIMEOUTS: Final = _counter("poolguard_wait_timeouts_total", "Waits that ran out of time (53300).", "pool")
QUEUE_FULL: Final = _counter(
    "poolguard_queue_full_total", "Statements refused at once because the queue was full (53300).", "pool"
)
CHECKOUTS: Final = _counter("poolguard_checkouts_total", "Times that a session was given a server.", "pool")
CHECKOUT_SECONDS: Final = _histogram(
    "poolguard_checkout_seconds", "How long a server was held, from getting it to giving it back.", "pool"
)
LANE_WAITING: Final = _gauge(
    "poolguard_lane_waiting", "Transactions that wait in a lane; where it observes, that would.", "pool", "lane", "mode"
)
LANE_IN_FLIGHT: Final = _gauge("poolguard_lane_in_flight", "Transactions inside of a lane.", "pool", "lane", "mode")
LANE_WAIT_SECONDS: Final = _histogram(
    "poolguard_lane_wait_seconds",
    "Waits in a lane, also those in vain; where it observes, those that would have been.",
    "pool",
    "lane",
    "mode",
)
LANE_REJECTIONS: Final = _counter(
    "poolguard_lane_rejections_total",
    "Transactions that a lane did not let in (53300): queue_full, timeout; where it observes, would not have.",
    "pool",
    "lane",
    "mode",
    "reason",
)
SERVER_CONNECTS: Final = _counter(
    "poolguard_server_connects_total", "Attempts to open a server, by outcome.", "pool", "outcome"
)
SERVER_DISCONNECTS: Final = _counter(
    "poolguard_server_disconnects_total", "Servers closed, by reason.", "pool", "reason"
)
SERVER_RETRY: Final = _gauge(
    "poolguard_server_retry_seconds",
    "While opening servers fails: seconds to the next attempt; else 0.",
    "pool",
)

# Sessions and transactions, out of the ledger.
CLIENT_CONNECTIONS: Final = _gauge(
    "poolguard_client_connections",
    "Sessions by phase. Until it has logged in, a session's pool is empty.",
    "pool",
    "phase",
)
OPEN_TRANSACTIONS: Final = _gauge(
    "poolguard_open_transactions", "Sessions that hold a server, by phase.", "pool", "phase"
)
OLDEST_TRANSACTION: Final = _gauge(
    "poolguard_oldest_transaction_seconds",
    "Age of the oldest transaction that holds a server, by its phase; 0 for none.",
    "pool",
    "phase",
)
TRANSACTIONS: Final = _counter(
    "poolguard_transactions_total",
    "Transactions by how they ended: commit (also statements that stood alone, and those sent in one go as one), "
    "rollback (by the client), error (PostgreSQL undid it, or was lost), killed (rolled back or terminated by the "
    "guard or a person), abandoned (the client went in the middle).",
    "pool",
    "outcome",
)
TRANSACTION_SECONDS: Final = _histogram(
    "poolguard_transaction_seconds",
    "How long transactions were open that were begun by BEGIN, from that BEGIN on, also if it was deferred.",
    "pool",
)
IDLE_IN_TRANSACTION_SECONDS: Final = _histogram(
    "poolguard_idle_in_transaction_seconds",
    "How long clients said nothing inside of a transaction, each time, to the tenth of a second; shorter times are not "
    "counted.",
    "pool",
)
LONGEST_IN_PHASE: Final = _gauge(
    "poolguard_longest_in_phase_seconds",
    "How long a session that holds a server has been in its phase, the longest of all; 0 for none.",
    "pool",
    "phase",
)

# The relay.
CLIENTS_ACCEPTED: Final = _counter("poolguard_clients_accepted_total", "Client connections accepted.")
CLIENTS_REFUSED: Final = _counter(
    "poolguard_clients_refused_total", "Client connections refused before or at login, by reason.", "reason"
)
CLIENTS_CUT_OFF: Final = _counter(
    "poolguard_clients_cut_off_total", "Clients cut off because they did not read what they were sent."
)
CERTIFICATE_EXPIRES: Final = _gauge(
    "poolguard_certificate_expires_timestamp_seconds",
    "When the certificate expires that clients are shown; only where listen.clients.tls is set.",
)
CANCEL_REQUESTS: Final = _counter("poolguard_cancel_requests_total", "Cancel requests received from clients.")
DEFERRED_BEGINS: Final = _counter(
    "poolguard_deferred_begins_total", "BEGINs that were answered before a server was needed."
)
PROTOCOL_VIOLATIONS: Final = _counter(
    "poolguard_protocol_violations_total", "Sessions ended because the client broke the protocol or a limit."
)
PINS: Final = _counter(
    "poolguard_pins_total", "Times that session state kept a server from going back, by reason.", "pool", "reason"
)
LISTENING_CLIENTS: Final = _gauge(
    "poolguard_listening_clients", "Clients that hear channels by their pool's listening server.", "pool"
)
NOTIFICATIONS: Final = _counter(
    "poolguard_notifications_total", "Notifications handed to clients that listen, one for each client.", "pool"
)
NOTIFICATIONS_DROPPED: Final = _counter(
    "poolguard_notifications_dropped_total",
    "Notifications dropped because their client neither read nor ended its transaction.",
    "pool",
)
NOTIFICATION_GAPS: Final = _counter(
    "poolguard_notification_gaps_total",
    "Times that a listening server was lost: what was notified until it was back is missed.",
    "pool",
)
SQL_ERRORS: Final = _counter(
    "poolguard_sql_errors_total",
    "Errors of PostgreSQL that went to clients. Codes that are not listed count as other.",
    "pool",
    "sqlstate_class",
    "sqlstate",
)

STATEMENT_RETRIES: Final = _counter(
    "poolguard_statement_retries_total",
    "Refused statements in pools with retry, by outcome: retried, healed, given_up, unfit, observed.",
    "pool",
    "sqlstate",
    "outcome",
)
DEADLOCKS: Final = _counter("poolguard_deadlocks_total", "Deadlocks whose victim was a statement of ours.", "pool")
DEADLOCK_PAIRS: Final = _counter(
    "poolguard_deadlock_pairs_total",
    "Times that two statements, by fingerprint, met in a deadlock; /v1/errors has the texts. Past 50 pairs: other.",
    "a",
    "b",
)
DUPLICATE_KEYS: Final = _counter(
    "poolguard_constraint_errors_total",
    "Duplicate keys (23505), by constraint. Past 100 of them: other.",
    "pool",
    "table",
    "constraint",
)

# Applications, by their application_name.
CLIENT_PLATEAU: Final = _gauge(
    "poolguard_client_pool_plateau_seconds",
    "How long an application has had all its connections busy, as many as it ever had: its own pool is full.",
    "application",
)
CLIENT_LEAKED: Final = _gauge(
    "poolguard_client_leaked_slots",
    "Connections of an application whose transaction the guard has ended and that have said nothing since.",
    "application",
)

# The guard.
POLICY_MATCHES: Final = _counter(
    "poolguard_policy_matches_total", "Times that a transaction passed a step of a rule.", "rule", "mode"
)
POLICY_ACTIONS: Final = _counter(
    "poolguard_policy_actions_total",
    "What the guard did, and what became of it.",
    "pool",
    "rule",
    "action",
    "outcome",
)
BUDGET_EXHAUSTED: Final = _counter(
    "poolguard_policy_budget_exhausted_total",
    "Actions left undone because the policy's budget was used up.",
    "policy",
)
BUDGET_SPENT: Final = _gauge(
    "poolguard_policy_budget_spent",
    "1 if the policy's budget withheld something in the latest pass of the guard.",
    "policy",
)
SPARED: Final = _counter(
    "poolguard_policy_spared_total",
    "Exempt transactions for which something was due, and steps not taken because such work is not ended.",
    "policy",
    "reason",
)
LEAKS: Final = _counter(
    "poolguard_leaks_total",
    "Transactions idle past the first step of idle_in_transaction, by how that ended: ended (by the guard or a "
    "person), returned (the client went on), disconnected.",
    "pool",
    "resolution",
)
WEBHOOK: Final = _counter(
    "poolguard_webhook_incidents_total",
    "Incidents for the webhook: sent, repeats (one like it was sent), failed (given up), missed (queue full).",
    "outcome",
)
KUBERNETES_EVENTS: Final = _counter(
    "poolguard_kubernetes_events_total",
    "Incidents for Kubernetes Events: sent, repeats (one like it was), failed (given up), missed (queue full).",
    "outcome",
)
GUARD_SWEEP_FAILURES: Final = _counter(
    "poolguard_guard_sweep_failures_total", "Passes of the guard that failed: each is a bug, and is in the log."
)
GUARD_LATE_SWEEPS: Final = _counter(
    "poolguard_guard_late_sweeps_total", "Passes that judged nothing because the process had stood still."
)
GUARD_SWEEPS: Final = _counter("poolguard_guard_sweeps_total", "Passes of the guard over all transactions.")
GUARD_SWEEP_SECONDS: Final = _histogram("poolguard_guard_sweep_seconds", "What one pass of the guard took.")

# Locks, as the observer sees them.
LOCK_WAITERS: Final = _gauge("poolguard_lock_waiters", "Backends that wait for a lock, as far as they can be seen.")
LONGEST_LOCK_WAIT: Final = _gauge(
    "poolguard_longest_lock_wait_seconds", "How long the one that has waited longest for a lock has waited; 0 for none."
)
ROOT_BLOCKERS: Final = _gauge(
    "poolguard_root_blockers", "Backends for which others wait and that wait for nobody, by what they do.", "class"
)
BLOCKED_BY_ROOT: Final = _gauge(
    "poolguard_blocked_by_root_max", "Backends that wait behind the worst of them, directly or through others."
)
LOCK_GRAPH_SECONDS: Final = _histogram("poolguard_lock_graph_seconds", "What collecting the lock graph took.")
FOREIGN_ACTIONS: Final = _counter(
    "poolguard_foreign_actions_total",
    "What rules of foreign_blockers did to lock holders that are not poolguard's, by outcome: done, victim_moved, "
    "no_privilege, failed, budget, spared, observed.",
    "rule",
    "action",
    "outcome",
)
OBSERVER_CONNECTED: Final = _gauge("poolguard_observer_connected", "1 while locks can be looked at.")
OBSERVER_FAILURES: Final = _counter(
    "poolguard_observer_failures_total", "Times that locks could not be looked at, or no longer."
)
UPSTREAM_INFO: Final = _info(
    "poolguard_upstream_info",
    "PostgreSQL, what our role may see there (own, sees_all, signals), and whether pids are another pooler's.",
    "server_version",
    "privilege_tier",
    "pid_opaque",
)

# Leases.
LEASE_HELD: Final = _gauge("poolguard_lease_held", "1 while this poolguard trusts its term.", "name")
LEADER_STATUS: Final = _gauge(
    "leader_election_master_status", "The same as poolguard_lease_held, as Kubernetes names it.", "name"
)
LEASE_TRANSITIONS: Final = _counter(
    "poolguard_lease_transitions_total", "Terms that the name had, wherever held, as last seen here.", "name"
)
LEASE_TOKEN: Final = _gauge("poolguard_lease_token", "Token of the latest term that was held here.", "name")
LEASE_VALID_FOR: Final = _gauge(
    "poolguard_lease_valid_for_seconds", "How long the term is still trusted; 0 when it is not.", "name"
)
LEASE_RENEW_AGE: Final = _gauge(
    "poolguard_lease_last_renew_age_seconds", "Seconds since the last renewal that succeeded.", "name"
)
LEASE_NAMES_LEFT_OUT: Final = _gauge(
    "poolguard_lease_names_left_out", "Leases without series of their own: there are too many of them."
)
LEASES_ACQUIRED: Final = _counter("poolguard_lease_acquired_total", "Terms that were begun here.")
LEASE_RENEW_SECONDS: Final = _histogram("poolguard_lease_renew_seconds", "What a renewal took, failed ones too.")
LEASE_SLOW: Final = _counter(
    "leader_election_slowpath_total", "Renewals that got no verdict, as Kubernetes names it.", "name"
)
LEASE_ACQUIRE_WAIT: Final = _histogram(
    "poolguard_lease_acquire_wait_seconds", "How long a campaign waited until it led."
)
CAMPAIGNS: Final = _gauge("poolguard_campaigns", "Campaigns that run here, by phase.", "phase")
CAMPAIGNS_ENDED: Final = _counter("poolguard_campaigns_ended_total", "Campaigns that ended here, by reason.", "reason")
LEASE_STORE_ANSWERS: Final = _gauge(
    "poolguard_lease_store_up", "1 while PostgreSQL answers the leases' own connections."
)
LEASE_TIMELINE: Final = _gauge(
    "poolguard_lease_timeline", "WAL timeline in the high bits of tokens; 0: this PostgreSQL does not tell it."
)
LEASE_RENEW_FAILURES: Final = _counter(
    "poolguard_lease_renew_failures_total", "Renewals that failed, by reason.", "reason"
)
LEASES_RELEASED: Final = _counter("poolguard_lease_released_total", "Terms that their holders gave back here.")
LEASE_CONFLICTS: Final = _counter(
    "poolguard_lease_conflicts_total", "Acquires refused because another holder's term runs."
)
LEASES_LOST: Final = _counter(
    "poolguard_lease_lost_total", "Terms that ended without being released, by reason.", "reason"
)

# This poolguard.
LOOP_LAG: Final = _histogram(
    "poolguard_loop_lag_seconds", "How late the event loop woke a timer; above 5 ms something blocks it."
)
LOOP_BLOCKS: Final = _counter(
    "poolguard_loop_blocks_total", "Times that something kept the event loop for over 50 ms, by place.", "place"
)
BUILD_INFO: Final = _info("poolguard_build_info", "What runs.", "version", "python", "loop")
SETTINGS_INFO: Final = _info("poolguard_settings_info", "Hash of the settings in force.", "hash")
RELOADS: Final = _counter("poolguard_reloads_total", "Attempts to reload the settings, by result.", "result")
SETTINGS_LOADED: Final = _gauge(
    "poolguard_settings_loaded_timestamp_seconds", "When the settings in force were loaded."
)

# The process, under the names that every Prometheus client uses.
PROCESS_CPU: Final = _counter("process_cpu_seconds_total", "CPU seconds used, user and system.")
PROCESS_RSS: Final = _gauge("process_resident_memory_bytes", "Resident memory.")
PROCESS_FDS: Final = _gauge("process_open_fds", "Open file descriptors.")
PROCESS_MAX_FDS: Final = _gauge("process_max_fds", "Most file descriptors that may be open.")
PROCESS_START: Final = _gauge("process_start_time_seconds", "When the process started.")
GC_COLLECTIONS: Final = _counter("python_gc_collections_total", "Runs of the garbage collector.", "generation")
GC_UNCOLLECTABLE: Final = _counter(
    "python_gc_objects_uncollectable_total", "Objects that could not be collected.", "generation"
)

CATALOGUE: Final[tuple[Metric, ...]] = tuple(value for value in globals().values() if isinstance(value, Metric))
"""All of the above, in that order."""
