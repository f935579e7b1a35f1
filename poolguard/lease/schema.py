"""The table that leases live in, as SQL that may be run again and again. Pure."""

from typing import Final

from poolguard.lease.terms import MAX_TOKEN

TABLE: Final = "lease"
SEQUENCE: Final = "lease_token"
FENCE: Final = "holds"
CHANNEL: Final = "poolguard_lease"
"""What is notified of a release, with the lease's name: one channel for all schemas of a database."""

_DDL: Final = """\
-- poolguard's leases. Safe to run again. Whoever poolguard connects as needs:
--   GRANT USAGE ON SCHEMA {schema} TO role;
--   GRANT SELECT, INSERT, UPDATE ON {schema}.lease TO role;
--   GRANT USAGE ON SEQUENCE {schema}.lease_token TO role;
-- Whoever calls {schema}.holds() needs:
--   GRANT USAGE ON SCHEMA {schema} TO application;
CREATE SCHEMA IF NOT EXISTS {schema};

-- One counter for all names, outside of the table: deleting rows can't make a token come back.
CREATE SEQUENCE IF NOT EXISTS {schema}.lease_token;

-- Logged, not UNLOGGED: an unlogged table is emptied by a crash and missing after a failover.
-- Only the name is indexed, and half of each page stays free: a renewal updates in place (HOT).
-- vacuum_truncate would take an exclusive lock that renewals wait for.
CREATE TABLE IF NOT EXISTS {schema}.lease (
  name        text        PRIMARY KEY,
  holder      text,
  request_id  text,
  token       bigint      NOT NULL DEFAULT 0 CHECK (token BETWEEN 0 AND {max_token}),
  timeline    integer     NOT NULL DEFAULT 0,
  ttl         interval    NOT NULL DEFAULT '0',
  acquired_at timestamptz,
  renewed_at  timestamptz,
  expires_at  timestamptz NOT NULL DEFAULT 'epoch',
  transitions integer     NOT NULL DEFAULT 0,
  metadata    jsonb
) WITH (
  fillfactor = 50,
  vacuum_truncate = false,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 200
);

-- For followers, and for a holder that steps down.
ALTER TABLE {schema}.lease
  ADD COLUMN IF NOT EXISTS version        bigint  NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS step_down      boolean NOT NULL DEFAULT false,
  ADD COLUMN IF NOT EXISTS hold_off       interval,
  ADD COLUMN IF NOT EXISTS hold_off_until timestamptz,
  ADD COLUMN IF NOT EXISTS stepped_down   text,
  ADD COLUMN IF NOT EXISTS preferred      text;

-- The fence: true while that term runs, else an error: a caller who forgets to look at the answer is stopped too.
-- Until the caller's transaction ends, nobody can begin the next term; renewals pass. As its owner, because a row lock
-- takes the right to UPDATE, which applications should not have: they need USAGE of the schema, and nothing else here.
CREATE OR REPLACE FUNCTION {schema}.holds(name text, token bigint) RETURNS boolean
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $poolguard$
BEGIN
  PERFORM FROM {schema}.lease AS lease WHERE lease.name = holds.name FOR KEY SHARE;
  -- Of its own statement: the clock is read after the lock was waited for.
  PERFORM FROM {schema}.lease AS lease
    WHERE lease.name = holds.name AND lease.token = holds.token AND lease.holder IS NOT NULL
      AND lease.expires_at > clock_timestamp();
  IF NOT FOUND THEN
    RAISE EXCEPTION 'lease % is not held with token %', holds.name, holds.token
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Another term has begun, or this one is over: stop.';
  END IF;
  RETURN true;
END
$poolguard$;

COMMENT ON TABLE {schema}.lease IS 'Leases held through poolguard: one row a name, kept for ever';
"""


def ddl(schema: str) -> str:
    """SQL that creates everything the leases need in *schema*, where it is missing."""
    return _DDL.format(schema=quoted(schema), max_token=MAX_TOKEN)


def quoted(identifier: str) -> str:
    """*identifier* as SQL takes it literally. Raises ValueError for what PostgreSQL can't name."""
    if not identifier or "\0" in identifier or len(identifier.encode()) > 63:
        raise ValueError("a PostgreSQL name has 1 to 63 bytes and no zero byte")
    doubled = identifier.replace('"', '""')
    return f'"{doubled}"'
