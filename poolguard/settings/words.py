"""One line of explanation for every setting: for the JSON Schema, for editors and for docs/settings.md."""

from collections.abc import Mapping
from typing import Final

_LADDER: Final = {
    "warn": "Log, count and show it",
    "cancel": "End the running statement; the transaction stays, in error",
    "rollback": "End the transaction, keep the session",
    "terminate": "Close the client's session and its server",
}


def _ladder(name: str, of_what: str) -> dict[str, str]:
    return {f"policies.*.{name}.{step}": f"{does}, when {of_what}." for step, does in _LADDER.items()}


_WHEN: Final = {
    "pool": "Globs of pool names.",
    "user": "Globs of the client's user.",
    "database": "Globs of the database name that the client asked for.",
    "application_name": "Globs of the client's application_name.",
    "client_address": "Addresses or networks of clients, as 10.0.0.0/8, or unix.",
    "state": "Where the transaction stands.",
    "idle_for": "Comparison: how long the client has said nothing inside of a transaction.",
    "transaction_age": "Comparison: how long the transaction is open.",
    "statement_age": "Comparison: how long the statement runs.",
    "checkout_age": "Comparison: how long the server is held.",
    "statements": "Comparison: how many statements came since the server was got, as >=100.",
    "blocking": "Comparison: how many sessions wait for its locks. 0 while that is not known.",
    "blocking_for": "Comparison: how long somebody has waited for its locks.",
    "pool_utilisation": "Comparison: share of the pool's size that is held, as >=0.9.",
    "waiters": "Comparison: how many clients wait for a server of the pool.",
    "oldest_wait": "Comparison: how long the first of them has waited.",
    "wrote": "true: a statement wrote or locked rows, or may have; false: all are known and only read.",
    "savepoint": "Whether a savepoint is open. Where that is not known, neither true nor false matches.",
    "isolation": "Isolation level that the transaction was begun with, where it was said.",
    "statement_class": "Kind of the statement that runs, or ran last. What is named here, the rule may end.",
    "fingerprint": "Fingerprint of the statement that runs, or ran last, as incidents show it.",
    "statement": "Regular expression, searched in that statement's text without literals, in lower case.",
    "tags": "sqlcommenter tags of the transaction's statements: name to glob.",
}

_EXEMPT: Final = {
    "application_name": "Globs of application_name that the guard leaves alone.",
    "user": "Globs of users that the guard leaves alone.",
    "comment": "A comment with this text in a statement exempts its transaction.",
    "statement_class": "Work that is warned of and never ended. checkout_age may end a COPY all the same.",
    "zero_timeouts": "Leave alone what a client has lifted the timeout of with SET, as pg_dump does: = 0.",
    "job_pop": "A transaction that took a job of a queue is not ended before this age. 0s: like any other.",
}

_FOREIGN_WHEN: Final = {
    "user": "Globs of PostgreSQL roles.",
    "database": "Globs of databases.",
    "application_name": "Globs of application_name, as pg_stat_activity shows it.",
    "client_address": "Addresses or networks of clients as PostgreSQL sees them, as 10.0.0.0/8, or unix.",
    "state": "Where the backend stands; pinned: idle, and holds a lock of its session.",
    "idle_for": "Comparison: how long its client has said nothing inside of a transaction.",
    "transaction_age": "Comparison: how long its transaction is open.",
    "statement_age": "Comparison: how long its statement runs.",
    "blocking": "Comparison: how many sessions of poolguard's wait because of it, directly or through others.",
    "blocking_for": "Comparison: how long the first of them has waited.",
}

_FOREIGN_THEN: Final = {
    "warn": "Log, count and show it",
    "cancel": "pg_cancel_backend: end its running statement",
    "terminate": "pg_terminate_backend: end its session",
}

_UPSTREAM: Final = {
    "url": "PostgreSQL as a libpq URI. PG* variables and ~/.pgpass fill what it leaves out.",
    "password_file": "File that holds the password. Read again for new connections: it can be rotated.",
    "connect_timeout": "How long opening one connection may take, login included.",
}

WORDS: Final[Mapping[str, str]] = {
    **{f"upstream.{key}": text for key, text in _UPSTREAM.items()},
    "listen.clients.host": "Address for applications. Not loopback: needs auth.method scram-sha-256 or cert.",
    "listen.clients.port": "Port for applications. 0 takes any free one.",
    "listen.clients.unix_socket_dir": "Folder for a Unix socket, .s.PGSQL.PORT, beside the address. null: none.",
    "listen.clients.tls.cert_file": "The certificate (PEM), with what links it to its authority behind it.",
    "listen.clients.tls.key_file": "Its private key (PEM, without a passphrase).",
    "listen.clients.tls.ca_file": "Who signs clients' certificates (PEM). null: none is asked for.",
    "listen.clients.tls.client_cert": (
        "What a client must show: nothing, a certificate of ca_file's, or one whose common name is its user."
    ),
    "listen.clients.tls.required": "Whether a client without TLS gets FATAL 28000. Unix sockets need none.",
    "listen.clients.tls.min_version": "The oldest version of TLS that is spoken.",
    "listen.control.host": "Address for leases and admin (HTTP). Not loopback: set auth.admin_token.",
    "listen.control.port": "Port for leases and admin. 0 takes any free one.",
    "listen.metrics.host": "Address for /metrics and the probes, which come from outside of the pod.",
    "listen.metrics.port": "Port for /metrics and the probes. 0 takes any free one.",
    "auth.method": (
        "How applications log in. trust is refused on any address that is not loopback; cert needs "
        "listen.clients.tls.ca_file."
    ),
    "auth.users.*.password": "The password, or the SCRAM secret as pg_authid.rolpassword holds it.",
    "auth.users.*.password_file": "File that holds the same.",
    "auth.admin_token": "For HTTP requests that change something, and KILL in the console. Empty: none is asked for.",
    "auth.admin_token_file": "File that holds it.",
    "pools.*.size": "The hard limit: how many servers this pool ever has at once.",
    "pools.*.min_idle": "Servers that are kept open even when nobody needs them.",
    "pools.*.mode": "Whether a client holds a server to the end of its transaction, or of its session.",
    "pools.*.wait_timeout": "How long a client waits for a server before it gets ERROR 53300.",
    "pools.*.max_waiting": (
        "How many may wait for a held server. One more gets ERROR 53300 at once. Whoever waits for a server that can "
        "still be opened does not count."
    ),
    "pools.*.policy": "Which of the policies watches this pool's transactions.",
    "pools.*.max_lifetime": "Age at which a server is replaced; varied a little, so that not all go at once.",
    "pools.*.idle_timeout": "How long a server above min_idle may stand unused before it is closed.",
    "pools.*.prepared_statements": "Prepared statements kept on each server for all clients. 0: none.",
    "pools.*.on_session_state": "What a temporary table, a session lock, a SET ... leads to: pin, reject, ignore.",
    "pools.*.role": "PostgreSQL role of the servers. null: the user of upstream.url.",
    "pools.*.application_name": "What servers show in pg_stat_activity. null: poolguard's own.",
    **{f"pools.*.upstream.{key}": f"For this pool only: {text}" for key, text in _UPSTREAM.items()},
    "pools.*.retry.mode": "A lone statement refused with 40P01 or 40001: enforce sends it again; observe only counts.",
    "pools.*.retry.attempts": "How often at most, within wait_timeout; then the client is told.",
    "pools.*.lanes.*.name": "Name of the lane, in errors, metrics and /v1/pools.",
    "pools.*.lanes.*.match.fingerprint": "Fingerprint of the statement that a transaction begins with.",
    "pools.*.lanes.*.match.statement": (
        "Regular expression, searched in that statement's text without literals, in lower case."
    ),
    "pools.*.lanes.*.at_once": "How many such transactions may be under way at once, of this poolguard's clients.",
    "pools.*.lanes.*.max_waiting": "How many may wait for one of them to end. One more gets ERROR 53300 at once.",
    "pools.*.lanes.*.wait": "How long each waits, holding no server, before it gets ERROR 53300.",
    "pools.*.lanes.*.mode": "enforce, or observe: count who would have waited or been refused, and let all pass.",
    "default_pool": "Pool for a database name that is no pool's name.",
    "routes.*.match.application_name": "Glob over the client's application_name, as river*.",
    "routes.*.match.user": "Glob over the client's user.",
    "routes.*.match.database": "Glob over the database name that the client asked for.",
    "routes.*.match.statement": (
        "Regular expression, searched for in the first statement of each transaction (its beginning, up to 4 KiB): "
        "leads that transaction alone to the pool."
    ),
    "routes.*.pool": "Pool for the sessions that match; with statement, for the transactions.",
    "policies.*.mode": "enforce carries verdicts out; observe only counts and logs them.",
    **_ladder("idle_in_transaction", "the client has said nothing inside of a transaction for so long"),
    **_ladder("idle_blocker", "the client has said nothing and others have waited for its locks for so long"),
    "policies.*.idle_blocker.blocking": "How many sessions must wait for its locks.",
    **_ladder("transaction_age", "a transaction is open for so long"),
    **_ladder("statement_age", "one statement runs for so long"),
    **_ladder("checkout_age", "a server is held for so long, for whatever reason"),
    "policies.*.rules.*.name": "Name of the rule, in incidents, metrics and errors.",
    **{f"policies.*.rules.*.when.{key}": text for key, text in _WHEN.items()},
    **{
        f"policies.*.rules.*.then.{step}": f"{does}, when all of when has held so long."
        for step, does in _LADDER.items()
    },
    "policies.*.rules.*.mode": "null: the policy's mode.",
    "policies.*.rules.*.victims": "Of the transactions of a pool that match at once: all, or only one.",
    "policies.*.rules.*.wait_after": "After an action, end nothing more by this rule in the pool for so long.",
    **{f"policies.*.rules.*.exempt.{key}": f"For this rule too: {text}" for key, text in _EXEMPT.items()},
    **{f"policies.*.exempt.{key}": text for key, text in _EXEMPT.items()},
    "policies.*.budget.kills_per_minute": "Above so many the guard ends nothing more and calls for a person.",
    "policies.*.budget.max_share_of_pool": (
        "At most this share of the pool's servers is cancelled or terminated at once, or was terminated in the last "
        "minute; rollbacks keep their server and don't count."
    ),
    "policies.*.budget.cooldown": "After an action, end nothing more in the pool for so long: let the waiting go on.",
    "leases.enabled": "Whether there is a lease API.",
    "leases.connections": "Connections of its own, which no pool shares: one in use, the rest spares.",
    "leases.schema": "PostgreSQL schema of the lease table.",
    "leases.create_schema": "Create schema and table at start. false: run `poolguard print-schema --sql`.",
    "leases.default_ttl": "How long a lease holds when the request does not say.",
    "leases.listen": "One more connection, once leases are held or watched, to LISTEN for releases by others.",
    "leases.failover_grace": "After a failover, let each term run for its whole time again before it can be taken.",
    "leases.elector.election": "The lease that poolguard campaigns for by itself; / and /isLeader tell who leads.",
    "leases.elector.holder": "Its holderIdentity. Empty: the host's name, which is the pod's.",
    "leases.elector.check_url": "A candidate only while this URL of this machine answers 2xx. null: always.",
    "leases.elector.host": "Address of / and /isLeader.",
    "leases.elector.port": "Their port. 0 takes any free one.",
    "observer.enabled": "Whether one connection looks at who waits for whose lock (/v1/locks, idle_blocker).",
    "observer.interval": "How long between two looks. It collects only when somebody waits.",
    "foreign_blockers.mode": "enforce carries the rules out; observe only counts and logs what they would end.",
    "foreign_blockers.rules.*.name": "Name of the rule, in incidents and metrics.",
    **{f"foreign_blockers.rules.*.when.{key}": text for key, text in _FOREIGN_WHEN.items()},
    **{
        f"foreign_blockers.rules.*.then.{step}": f"{does}, when all of when has held so long."
        for step, does in _FOREIGN_THEN.items()
    },
    "foreign_blockers.rules.*.mode": "null: that of all rules.",
    "foreign_blockers.rules.*.wait_after": "After an action, end nothing more by this rule for so long.",
    "foreign_blockers.exempt.application_name": "Globs of application_name that no rule is about.",
    "foreign_blockers.exempt.user": "Globs of PostgreSQL roles that no rule is about.",
    "foreign_blockers.exempt.comment": "A comment with this text in the statement that can be seen exempts a backend.",
    "foreign_blockers.budget.kills_per_minute": "Above so many nothing more is ended, and a person is called for.",
    "foreign_blockers.budget.cooldown": "After an action, end nothing more for so long: let the waiting go on.",
    "incidents.webhook.url": "Where each incident is sent as JSON, by POST. null: nowhere.",
    "incidents.webhook.secret": "Key of the signature in X-Poolguard-Signature (HMAC-SHA256). null: not signed.",
    "incidents.webhook.secret_file": "File that holds it.",
    "incidents.webhook.timeout": "How long the receiver may take to answer.",
    "incidents.webhook.repeat_after": (
        "An incident like one that was sent (same rule, action, outcome, application, statement) is sent again only "
        "after so long, with the number of those between. 0s: each is sent."
    ),
    "incidents.kubernetes.enabled": (
        "Whether what ended something, and exhausted pools, are Events on the pod. Needs a token that may create and "
        "patch events, and POD_NAME, POD_NAMESPACE, POD_UID."
    ),
    "incidents.kubernetes.timeout": "How long the API server may take to answer.",
    "incidents.kubernetes.repeat_after": "One like it is only counted for so long; then its Event's series grows.",
    "privacy.statement_text": (
        "Whether statements are shown, without their literals. false: by their fingerprints alone, in incidents, logs, "
        "errors of poolguard's own, HTTP and console. Rules and lanes still look at texts."
    ),
    "limits.max_clients": "Client connections at once, logged in. One more gets ERROR 53300.",
    "limits.max_logins": (
        "Connections at once that have not yet said and proven who they are. For one more, the oldest gets ERROR 53300 "
        "if it is at it for over a second, else the newcomer."
    ),
    "limits.login_timeout": "How long a client may take to log in.",
    "limits.unread_timeout": "How long a client may leave unread what it was sent before it is cut off. 0s: for ever.",
    "limits.max_replication": (
        "Replication connections at once. Each has a connection to PostgreSQL of its own, beside the pools. 0: none."
    ),
    "limits.max_cancels": "Cancel requests of clients that go to PostgreSQL at once; more wait for their turn.",
    "limits.message_bytes": "The longest protocol message a client may send.",
    "limits.buffer_bytes": "Bytes that may wait per direction of a session before reading stops.",
    "limits.statements_per_client": "Prepared statements that one client may have.",
    "limits.drain_timeout": "How long transactions may go on after SIGTERM. Keep it below the pod's grace.",
    "log.format": "json: one object a line. text: for a terminal.",
    "log.level": "The least serious level that is written.",
}
"""Path, with `*` for any name, to what the setting means. Held complete by a test."""
