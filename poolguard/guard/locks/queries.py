"""What is asked of PostgreSQL (14 to 18), as SQL. Each statement runs by itself, in autocommit: inside a transaction
pg_stat_activity would show what it showed first.

Costs. pg_blocking_pids takes every partition of the lock manager for each pid that is asked about; pg_locks takes them
once, whatever it finds. So few waiters are asked about one by one, many are worked out of one reading.
"""

from typing import Final

MANY_WAITERS: Final = 20
"""Beyond these, pg_locks is read once instead of asking pg_blocking_pids for each."""
MOST_LOCKS: Final = 5000
MOST_WAITERS: Final = 1000
STATEMENT_BYTES: Final = 2048

SESSION: Final = (
    "SET statement_timeout = '250ms'",
    "SET lock_timeout = '100ms'",
    "SET default_transaction_isolation = 'read committed'",
    "SET default_transaction_read_only = on",
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO'",
)
"""What the observer's session is told: it never waits, never writes, never takes long."""

PRIVILEGES: Final = """
SELECT current_setting('server_version_num')::int AS version,
       current_setting('server_version') AS version_text,
       pg_backend_pid() AS pid,
       pg_is_in_recovery() AS standby,
       (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS superuser,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
       pg_has_role(current_user, 'pg_signal_backend', 'USAGE') AS may_signal
"""

WAITERS: Final = f"""
SELECT pid FROM pg_catalog.pg_stat_activity WHERE wait_event_type = 'Lock' LIMIT {MOST_WAITERS}
"""
"""Without pg_read_all_stats this sees the waits of the own role only."""

BLOCKERS: Final = """
SELECT w.pid, w.mode, b.pids AS blockers,
       greatest(0, extract(epoch FROM clock_timestamp() - w.waitstart))::float8 AS seconds,
       w.locktype, w.transactionid::text AS xid, w.virtualxid,
       CASE WHEN w.relation IS NOT NULL AND w.database IN
            (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
            THEN (SELECT format('%%I.%%I', n.nspname, c.relname)
                    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   WHERE c.oid = w.relation) END AS relation
  FROM pg_catalog.pg_locks AS w
 CROSS JOIN LATERAL (SELECT pg_blocking_pids(w.pid) AS pids) AS b
 WHERE NOT w.granted AND w.pid = ANY(%(pids)s)
"""
"""LATERAL, so that pg_blocking_pids is called once for each waiter."""

LOCKS: Final = f"""
WITH locks AS MATERIALIZED (
  SELECT l.*, (l.locktype, l.database, l.relation, l.page, l.tuple, l.virtualxid, l.transactionid, l.classid, l.objid,
               l.objsubid)::text AS object
    FROM pg_catalog.pg_locks AS l)
SELECT object, pid, mode, granted, virtualtransaction, locktype, transactionid::text AS xid, virtualxid,
       greatest(0, extract(epoch FROM clock_timestamp() - waitstart))::float8 AS seconds,
       CASE WHEN NOT granted AND relation IS NOT NULL AND database IN
            (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
            THEN (SELECT format('%%I.%%I', n.nspname, c.relname)
                    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   WHERE c.oid = relation) END AS relation
  FROM locks
 WHERE object IN (SELECT object FROM locks WHERE NOT granted)
 LIMIT {MOST_LOCKS}
"""

PREPARED: Final = """
SELECT l.virtualtransaction, p.gid
  FROM pg_catalog.pg_prepared_xacts AS p
  JOIN pg_catalog.pg_locks AS l ON l.locktype = 'transactionid' AND l.transactionid = p.transaction
 WHERE l.granted AND l.pid IS NULL
"""
"""Each holds the lock on its own number: that tells which rows of pg_locks without a pid are whose."""

PREPARED_BLOCKERS: Final = """
WITH locks AS MATERIALIZED (
  SELECT l.*, (l.locktype, l.database, l.relation, l.page, l.tuple, l.virtualxid, l.transactionid, l.classid, l.objid,
               l.objsubid)::text AS object
    FROM pg_catalog.pg_locks AS l)
SELECT w.pid, h.virtualtransaction
  FROM locks AS w JOIN locks AS h ON h.object = w.object AND h.granted AND h.pid IS NULL
 WHERE NOT w.granted AND w.pid = ANY(%(pids)s)
"""

BACKENDS: Final = f"""
SELECT a.pid, a.backend_start, a.xact_start, a.state_change, a.state,
       coalesce(a.backend_type, 'client backend') AS kind, coalesce(a.leader_pid, 0) AS leader_pid,
       coalesce(a.usename, '') AS "user", coalesce(r.rolsuper, false) AS superuser,
       coalesce(a.datname, '') AS database, coalesce(a.application_name, '') AS application_name,
       CASE WHEN a.client_port = -1 THEN 'unix'
            ELSE coalesce(CASE family(a.client_addr) WHEN 6 THEN '[' || host(a.client_addr) || ']'
                               ELSE host(a.client_addr) END || ':' || a.client_port, '') END AS client_address,
       coalesce(a.wait_event_type || '/' || a.wait_event, '') AS wait_event,
       coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8 AS transaction_seconds,
       coalesce(extract(epoch FROM clock_timestamp() - a.state_change), 0)::float8 AS state_seconds,
       coalesce(extract(epoch FROM clock_timestamp() - a.query_start), 0)::float8 AS statement_seconds,
       CASE WHEN a.state IS NOT NULL THEN left(a.query, {STATEMENT_BYTES}) END AS statement
  FROM pg_catalog.pg_stat_activity AS a
  LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.usesysid
 WHERE a.pid = ANY(%(pids)s)
"""

_SIGNAL: Final = """
SELECT a.pid, {function}(a.pid) AS signalled
  FROM pg_catalog.pg_stat_activity AS a
  JOIN pg_catalog.pg_roles AS r ON r.oid = a.usesysid
 WHERE a.pid = %(pid)s
   AND a.backend_start = %(backend_start)s
   AND a.xact_start IS NOT DISTINCT FROM %(xact_start)s
   AND a.state_change = %(state_change)s
   AND a.state = %(state)s
   AND a.backend_type = 'client backend'
   AND NOT r.rolsuper
   AND a.pid <> pg_backend_pid()
"""
# The function stands in the list of columns and never in WHERE, where nothing says in which order tests are made.
CANCEL: Final = _SIGNAL.format(function="pg_cancel_backend")
TERMINATE: Final = _SIGNAL.format(function="pg_terminate_backend")
"""One statement checks that the backend still does what it did, and signals it. No row: it has moved on."""
