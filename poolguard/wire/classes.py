"""What kind of work a statement is, read off its normalised text: whether it writes, defines, copies, takes a job.

Pure, and fit for what is recorded as well as for what runs: the texts that `fingerprint.normalise` gives hold
neither literals nor comments, so no word in one misleads. What can't be told errs to the side of the client: a text
that was cut off, or that begins with a word that isn't known, counts as one that may write.
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple


class StatementClass(StrEnum):
    """A statement may be of several."""

    READ = "read"
    """It only reads, as far as its text tells: a function that it calls may write."""
    WRITE = "write"
    """It changes rows, or may."""
    LOCK = "lock"
    """SELECT ... FOR UPDATE or FOR SHARE, or LOCK TABLE."""
    DDL = "ddl"
    """It changes the schema: CREATE, ALTER, DROP, GRANT and their like, but for temporary tables."""
    VACUUM = "vacuum"
    """VACUUM, CLUSTER, ANALYZE, REINDEX, REFRESH MATERIALIZED VIEW."""
    CONCURRENTLY = "concurrently"
    """CREATE, DROP or REINDEX INDEX CONCURRENTLY: cut in the middle it leaves an invalid index."""
    COPY = "copy"
    JOB_POP = "job_pop"
    """A queue's worker takes a job: SELECT ... FOR UPDATE with SKIP LOCKED, or as Laravel's database queue does."""
    COMMIT = "commit"
    PREPARE_TRANSACTION = "prepare_transaction"
    ROLLBACK = "rollback"
    """The whole transaction, not back to a savepoint."""
    BEGIN = "begin"
    SAVEPOINT = "savepoint"
    """SAVEPOINT, RELEASE or ROLLBACK TO."""


CACHED: Final = 512

_CUT: Final = "..."
_STARTS_READ: Final = frozenset(
    {"select", "table", "values", "show", "fetch", "move", "close", "declare", "explain", "set", "reset", "listen",
     "unlisten", "notify", "discard", "deallocate", "checkpoint", "with"}
)  # fmt: skip
_OWN_WORD: Final = {
    "commit": StatementClass.COMMIT,
    "end": StatementClass.COMMIT,
    "begin": StatementClass.BEGIN,
    "start": StatementClass.BEGIN,
    "abort": StatementClass.ROLLBACK,
    "savepoint": StatementClass.SAVEPOINT,
    "release": StatementClass.SAVEPOINT,
}
_DDL: Final = frozenset(
    {"create", "alter", "drop", "grant", "revoke", "comment", "import", "security", "reassign", "reindex", "refresh"}
)
_VACUUM: Final = frozenset({"vacuum", "cluster", "analyze", "analyse", "reindex"})
_HEAD: Final = re.compile(r"[( ]*+([^\s(]+)")
_QUOTED: Final = re.compile(r'"[^"]*+(?:""[^"]*+)*+"?')
_WRITES: Final = re.compile(r"\b(?:insert into|update|delete from|merge into|into)\b")
_LOCKS: Final = re.compile(r"\bfor (?:no key )?update\b|\bfor (?:key )?share\b")
_UPDATE_LOCK: Final = re.compile(r"\bfor (?:no key )?update\b")
_TEMPORARY: Final = re.compile(r"create (?:or replace )?(?:local |global )?temp(?:orary)?\b")
_NAME: Final = re.compile(
    r"(?:savepoint|release(?: savepoint)?|rollback(?: work| transaction)? to(?: savepoint)?) (.+)"
)
_ISOLATION: Final = re.compile(r"\bisolation level (serializable|repeatable read|read (?:un)?committed)\b")


class Savepoint(NamedTuple):
    """One of SAVEPOINT, RELEASE and ROLLBACK TO."""

    word: str
    """`savepoint`, `release` or `rollback`."""
    name: str


@lru_cache(maxsize=CACHED)
def classes_of(text: str) -> frozenset[StatementClass]:
    """The classes of all statements in a normalised *text*."""
    found: set[StatementClass] = set()
    for statement in split(text):
        found |= _of_one(statement)
    if "reserved_at" in text and _UPDATE_LOCK.search(text):
        found.add(StatementClass.JOB_POP)
    if text.endswith(_CUT):
        found -= {StatementClass.READ}
        found.add(StatementClass.WRITE)
    return frozenset(found)


def split(text: str) -> list[str]:
    """The statements of a normalised *text*, with `"` for each quoted name."""
    return [part for statement in _QUOTED.sub('"', text).split(";") if (part := statement.strip())]


def savepoints_of(text: str) -> list[Savepoint]:
    """What a normalised *text* does with savepoints, in order. A quoted name stays as it is."""
    found = []
    for statement in text.split(";"):
        stripped = statement.strip()
        if (match := _NAME.fullmatch(stripped)) is not None:
            found.append(Savepoint(stripped.partition(" ")[0], match[1]))
    return found


def isolation_of(text: str) -> str:
    """The isolation level that a normalised BEGIN or SET TRANSACTION names; empty for none."""
    for statement in split(text):
        if statement.startswith(("begin", "start transaction", "set transaction")):
            match = _ISOLATION.search(statement)
            if match is not None:
                return match[1]
    return ""


def _of_one(statement: str) -> set[StatementClass]:
    match = _HEAD.match(statement)
    head = match[1] if match is not None else ""
    if (own := _OWN_WORD.get(head)) is not None:
        return {own}
    if head == "rollback":
        to_savepoint = _NAME.fullmatch(statement) is not None
        return {StatementClass.SAVEPOINT if to_savepoint else StatementClass.ROLLBACK}
    if statement.startswith("prepare transaction"):
        return {StatementClass.PREPARE_TRANSACTION}
    if head == "copy":
        return {StatementClass.COPY, StatementClass.READ if " to " in statement else StatementClass.WRITE}
    if head == "lock":
        return {StatementClass.LOCK}
    if head in _DDL or head in _VACUUM:
        return _of_definition(head, statement)
    if head in _STARTS_READ or head == "":
        return _of_query(statement)
    return {StatementClass.WRITE}


def _of_definition(head: str, statement: str) -> set[StatementClass]:
    if _TEMPORARY.match(statement):
        return {StatementClass.WRITE}
    found = {StatementClass.WRITE}
    if head in _DDL:
        found.add(StatementClass.DDL)
    if head in _VACUUM or statement.startswith("refresh materialized"):
        found.add(StatementClass.VACUUM)
    if " concurrently" in statement:
        found.add(StatementClass.CONCURRENTLY)
    return found


def _of_query(statement: str) -> set[StatementClass]:
    locks = _LOCKS.search(statement) is not None
    # `for update` holds the word `update`, and an ON CONFLICT DO UPDATE stands in an INSERT anyway.
    writes = _WRITES.search(_LOCKS.sub(" ", statement)) is not None
    if statement.startswith("explain") and "analy" not in statement:
        writes = False
    found = {StatementClass.WRITE} if writes else set()
    if locks:
        found.add(StatementClass.LOCK)
        if "skip locked" in statement and _UPDATE_LOCK.search(statement):
            found.add(StatementClass.JOB_POP)
    return found or {StatementClass.READ}
