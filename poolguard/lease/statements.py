"""Every SQL statement about a lease. Only PostgreSQL's clock is ever asked, and only after locks were waited for."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from psycopg import sql
from psycopg.types.json import Jsonb

from poolguard.lease.schema import CHANNEL, FENCE, SEQUENCE, TABLE
from poolguard.lease.terms import HoldOff, Row, StepDown, TermKey, Wanted

_COLUMNS: Final = """
  lease.name, lease.holder, lease.request_id, lease.token, lease.timeline,
  extract(epoch FROM lease.ttl)::float8 AS ttl_seconds,
  lease.acquired_at, lease.renewed_at, lease.transitions, lease.metadata,
  extract(epoch FROM lease.expires_at - clock_timestamp())::float8 AS valid_for_seconds,
  lease.version, lease.step_down, coalesce(extract(epoch FROM lease.hold_off), 0)::float8 AS hold_off_seconds,
  coalesce(extract(epoch FROM lease.hold_off_until - clock_timestamp()), 0)::float8 AS held_off_seconds,
  lease.stepped_down, lease.preferred
"""

# Costs no lock and writes nothing: what losers of an election send all day.
_READ: Final = "SELECT {columns} FROM {table} AS lease WHERE name = %(name)s"
_READ_SOME: Final = "SELECT {columns} FROM {table} AS lease WHERE name = ANY(%(names)s)"

_READ_ALL: Final = """
SELECT {columns} FROM {table} AS lease
 WHERE name > %(after)s AND starts_with(name, %(prefix)s) ORDER BY name LIMIT %(limit)s
"""

# An empty row, so that a first term and a later one begin the same way. Waits for another session's first insert.
_INTRODUCE: Final = "INSERT INTO {table} (name) VALUES (%(name)s) ON CONFLICT (name) DO NOTHING"

# FOR UPDATE waits for transactions that are fenced by the old term (they hold FOR KEY SHARE).
_LOCK: Final = "SELECT FROM {table} WHERE name = %(name)s FOR UPDATE"

# `|` puts the timeline into the high bits: tokens of a branch that was lost in a failover never come again.
_TAKE: Final = """
UPDATE {table} AS lease
   SET holder = %(holder)s, request_id = %(request_id)s, metadata = %(metadata)s, timeline = %(timeline)s,
       token = greatest(token + 1, %(floor)s::bigint + 1,
                        (%(timeline)s::bigint << 32) | (nextval({sequence}) & 4294967295)),
       ttl = make_interval(secs => %(ttl_seconds)s), transitions = transitions + 1,
       acquired_at = clock_timestamp(), renewed_at = clock_timestamp(),
       expires_at = clock_timestamp() + make_interval(secs => %(ttl_seconds)s), version = version + 1,
       step_down = false, hold_off = NULL, hold_off_until = NULL, stepped_down = NULL, preferred = NULL
 WHERE name = %(name)s
RETURNING {columns}
"""

_GRACE: Final = """
UPDATE {table} AS lease
   SET timeline = %(timeline)s, expires_at = clock_timestamp() + ttl, version = version + 1
 WHERE name = %(name)s
RETURNING {columns}
"""

# Two statements: one alone would read the clock before it waits for the row's lock, and PostgreSQL does not look again
# if the other transaction only locked the row; a term that ended during the wait would come back to life. They are
# sent as one simple Query, which PostgreSQL runs as one transaction (PostgreSQL docs, 55.2.2.1): one round trip, where
# BEGIN, each statement and COMMIT would each wait for the event loop's next turns.
# The second way to be alive: nobody took the term since a failover that may have swallowed its last renewals.
_RENEW: Final = """
SELECT FROM {table} WHERE name = %(name)s AND holder = %(holder)s AND token = %(token)s FOR NO KEY UPDATE;
UPDATE {table} AS lease
   SET renewed_at = clock_timestamp(), expires_at = clock_timestamp() + ttl, timeline = %(timeline)s,
       metadata = coalesce(%(metadata)s, metadata),
       version = version + (timeline <> %(timeline)s OR metadata IS DISTINCT FROM coalesce(%(metadata)s, metadata))::int
 WHERE name = %(name)s AND holder = %(holder)s AND token = %(token)s
   AND (expires_at > clock_timestamp() OR (%(grace)s AND timeline > 0 AND timeline < %(timeline)s))
RETURNING {columns}
"""

# The row stays, and its token with it. Only this and a step-down notify: NOTIFY takes a lock of the whole database at
# commit, and what is sent with every renewal must not.
_RELEASE: Final = """
WITH released AS (
  UPDATE {table} AS lease
     SET holder = NULL, expires_at = least(expires_at, clock_timestamp()), version = version + 1,
         step_down = false, hold_off = NULL, stepped_down = holder, preferred = %(preferred)s,
         hold_off_until = clock_timestamp() + make_interval(secs => %(hold_off_seconds)s)
   WHERE name = %(name)s AND holder = %(holder)s AND token = %(token)s
  RETURNING {columns}
) SELECT *, pg_notify({channel}, name) FROM released
"""

_ASK: Final = """
WITH asked AS (
  UPDATE {table} AS lease
     SET step_down = true, hold_off = make_interval(secs => %(hold_off_seconds)s), preferred = %(preferred)s,
         version = version + 1
   WHERE name = %(name)s AND holder IS NOT NULL AND expires_at > clock_timestamp()
  RETURNING {columns}
) SELECT *, pg_notify({channel}, name) FROM asked
"""

# Fails if a column is missing; says whether each right is there.
_PROBE: Final = """
SELECT has_table_privilege({table_name}, 'SELECT') AND has_table_privilege({table_name}, 'INSERT')
       AND has_table_privilege({table_name}, 'UPDATE') AND has_sequence_privilege({sequence}, 'USAGE') AS allowed,
       to_regprocedure({fence}) IS NOT NULL AS fenced
  FROM (SELECT count(*) FROM (SELECT {columns} FROM {table} AS lease LIMIT 0) AS none) AS columns
"""


class Statements:
    """The statements, for the table in one schema."""

    def __init__(self, schema: str) -> None:
        table = sql.Identifier(schema, TABLE)
        parts = {
            "columns": sql.SQL(_COLUMNS),
            "table": table,
            "table_name": sql.Literal(_dotted(schema, TABLE)),
            "sequence": sql.Literal(_dotted(schema, SEQUENCE)),
            "channel": sql.Literal(CHANNEL),
            "fence": sql.Literal(f"{_dotted(schema, FENCE)}(text, bigint)"),
        }

        def made(text: str) -> sql.Composed:
            return sql.SQL(text).format(**parts)

        self.read: Final = made(_READ)
        self.read_some: Final = made(_READ_SOME)
        self.read_all: Final = made(_READ_ALL)
        self.introduce: Final = made(_INTRODUCE)
        self.lock: Final = made(_LOCK)
        self.take: Final = made(_TAKE)
        self.grace: Final = made(_GRACE)
        self.renew: Final = made(_RENEW)
        """Two statements; the second result is the row. Needs a cursor that puts parameters in by itself."""
        self.release: Final = made(_RELEASE)
        self.ask: Final = made(_ASK)
        self.probe: Final = made(_PROBE)


def _dotted(schema: str, name: str) -> str:
    return sql.Identifier(schema, name).as_string(None)


def of_wish(wish: Wanted, name: str, *, timeline: int, floor: int) -> dict[str, object]:
    """Give the parameters of `take`; *name* is the slot's."""
    return {
        "name": name,
        "holder": wish.holder,
        "request_id": wish.request_id,
        "metadata": _json(wish.metadata),
        "ttl_seconds": wish.ttl_seconds,
        "timeline": timeline,
        "floor": floor,
    }


def of_term(
    term: TermKey,
    *,
    timeline: int = 0,
    grace: bool = True,
    metadata: Mapping[str, object] | None = None,
    how: StepDown | None = None,
) -> dict[str, object]:
    """Give the parameters of what is done to exactly one term."""
    return {
        "name": term.name,
        "holder": term.holder,
        "token": term.token,
        "timeline": timeline,
        "grace": grace,
        "metadata": _json(metadata),
        **of_step_down(term.name, how or StepDown()),
    }


def of_step_down(name: str, how: StepDown) -> dict[str, object]:
    """Give the parameters of `ask`."""
    return {"name": name, "hold_off_seconds": how.hold_off_seconds, "preferred": how.preferred}


def _json(metadata: Mapping[str, object] | None) -> Jsonb | None:
    return None if metadata is None else Jsonb(metadata)


def row_of(record: Mapping[str, Any]) -> Row:
    """Build the Row from what the statements return."""
    plain = {key: record[key] for key in _PLAIN}
    asked = StepDown(record["hold_off_seconds"], record["preferred"]) if record["step_down"] else None
    held_off = None
    if record["held_off_seconds"] > 0 and record["holder"] is None:
        held_off = HoldOff(record["held_off_seconds"], record["stepped_down"], record["preferred"])
    return Row(**plain, step_down=asked, held_off=held_off)


_PLAIN: Final = tuple(field.name for field in fields(Row) if field.name not in {"step_down", "held_off"})
