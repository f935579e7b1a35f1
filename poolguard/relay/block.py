"""A transaction block that exists only here: begun but not yet known to PostgreSQL, or ended behind the client's back.

Pure: one message in, its replies out, or None if PostgreSQL must see it. Three kinds:

- DEFERRED: the client said BEGIN; nothing is held. COMMIT and ROLLBACK are answered here too.
- REFUSED: the first real statement found no server (53300). From here on as in any failed transaction.
- ENDED: the guard rolled the transaction back. The next message is told so; a COMMIT is an ERROR whenever it
  comes, never a success and never the tag ROLLBACK, because some drivers don't look at the tag.
"""

from enum import StrEnum
from typing import Final

from poolguard.core.errors import PoolguardError
from poolguard.wire import messages
from poolguard.wire.text import Kind, classify

_QUERY, _PARSE, _BIND, _DESCRIBE, _EXECUTE, _CLOSE, _SYNC, _FLUSH, _CALL = b"QPBDECSHF"
_COPY: Final = b"dcf"
IDLE, OPEN, FAILED = b"ITE"


class BlockKind(StrEnum):
    """Why the block exists only here."""

    DEFERRED = "deferred"
    REFUSED = "refused"
    ENDED = "ended"


class Block:
    """One such block. `status` is the status byte that the client believes; IDLE ends the block."""

    __slots__ = ("_exits", "_skipping", "_told", "began_at", "begin", "error", "kind", "status")

    def __init__(
        self, kind: BlockKind, *, begin: bytes = b"", began_at: float = 0.0, error: PoolguardError | None = None
    ) -> None:
        self.kind = kind
        self.begin = begin
        """DEFERRED: the text of the client's BEGIN, with its options."""
        self.began_at = began_at
        self.error = error
        """ENDED: what the client is told."""
        self.status = OPEN if kind is BlockKind.DEFERRED else FAILED
        self._told = kind is not BlockKind.ENDED
        self._skipping = False
        self._exits: dict[bytes, Kind] = {}
        """Statements and portals of the extended protocol that end the block, by name."""

    def refuse(self) -> None:
        """No server for the first real statement; the caller has told the client why."""
        self.kind, self.status = BlockKind.REFUSED, FAILED

    def skip_to_sync(self) -> None:
        """An error was answered in the middle of an extended batch."""
        self._skipping = True

    def answer(self, tag: int, body: bytes, prepared: Kind | None = None) -> bytes | None:
        """The replies to one message; None: PostgreSQL must see it. *prepared*: what the named statement is."""
        if tag == _SYNC:
            self._skipping = False
            return messages.READY[self.status]
        if self._skipping or tag in _COPY or tag == _FLUSH:
            return b""
        if self.status == IDLE:
            return None  # the block ended earlier in this batch
        if tag == _QUERY:
            return self._query(body.rstrip(b"\0"))
        if tag == _CALL:
            return None if self.kind is BlockKind.DEFERRED else self._fails() + messages.READY[self.status]
        return self._extended(tag, body, prepared)

    def _query(self, sql: bytes) -> bytes | None:
        kind = classify(sql).kind
        done = self._begin_again(sql) if kind is Kind.BEGIN else self._finish(kind)
        if done is None and self.kind is not BlockKind.DEFERRED:
            done = self._fails()
        return None if done is None else done + messages.READY[self.status]

    def _begin_again(self, sql: bytes) -> bytes | None:
        if self.kind is not BlockKind.DEFERRED:
            return None
        return messages.notice_response("25001", "there is already a transaction in progress") + begun(sql)

    def _finish(self, kind: Kind) -> bytes | None:
        """COMMIT and ROLLBACK; None for anything else."""
        if self.kind is BlockKind.DEFERRED:
            if kind in (Kind.COMMIT, Kind.ROLLBACK):
                self.status = IDLE
                return messages.command_complete(kind.name)
            return None
        if kind is Kind.ROLLBACK or (
            self.kind is BlockKind.REFUSED and kind in (Kind.COMMIT, Kind.PREPARE_TRANSACTION)
        ):
            self.status = IDLE
            return messages.command_complete("ROLLBACK")
        if kind in (Kind.COMMIT, Kind.PREPARE_TRANSACTION):
            self.status = IDLE
            return self._why()
        return None

    def _fails(self) -> bytes:
        """The first failure tells why; later ones what PostgreSQL says in a failed block."""
        if not self._told:
            return self._why()
        return messages.ABORTED

    def _why(self) -> bytes:
        assert self.error is not None, "only a block that was ended is told why"
        self._told = True
        return messages.error_of(self.error)

    def _extended(self, tag: int, body: bytes, prepared: Kind | None) -> bytes | None:
        reply = self._extended_reply(tag, body, prepared)
        if reply is not None or self.kind is BlockKind.DEFERRED:
            return reply
        self._skipping = True
        return self._fails()

    def _extended_reply(self, tag: int, body: bytes, prepared: Kind | None) -> bytes | None:
        """The success of a message that leads to the block's end; None for any other."""
        name, _, rest = body.partition(b"\0")
        if tag == _PARSE:
            kind = classify(rest.partition(b"\0")[0]).kind
            if not self._ends(kind):
                return None
            self._exits[b"S" + name] = kind
            return messages.PARSE_COMPLETE
        if tag == _BIND:
            exit_kind = self._exits.get(b"S" + rest.partition(b"\0")[0], prepared)
            if exit_kind is None or not self._ends(exit_kind):
                return None
            self._exits[b"P" + name] = exit_kind
            return messages.BIND_COMPLETE
        if tag == _DESCRIBE:
            known = name in self._exits or (prepared is not None and self._ends(prepared))
            return (messages.NO_PARAMETERS if name[:1] == b"S" else b"") + messages.NO_DATA if known else None
        if tag == _EXECUTE and (portal := self._exits.get(b"P" + name)) is not None:
            done = self._finish(portal)
            if done is not None and done[:1] == b"E":
                self._skipping = True
            return done
        if tag == _CLOSE:
            return messages.CLOSE_COMPLETE
        return None

    def _ends(self, kind: Kind) -> bool:
        return kind in (Kind.COMMIT, Kind.ROLLBACK, Kind.PREPARE_TRANSACTION) and not (
            kind is Kind.PREPARE_TRANSACTION and self.kind is BlockKind.DEFERRED
        )


def begun(sql: bytes) -> bytes:
    """The CommandComplete of *sql*, a plain BEGIN or START TRANSACTION."""
    return messages.command_complete("START TRANSACTION" if classify(sql).name else "BEGIN")


def begin_group(data: bytes, position: int, prepared: dict[bytes, bytes]) -> tuple[bytes, bytes, int] | None:
    """A BEGIN by the extended protocol: [Parse] Bind [Describe] Execute Sync and nothing else, all in *data*.

    Returns its text, the replies (without ReadyForQuery) and where it ends; None if it is anything else.
    *prepared*: the texts of the client's named statements that are a plain BEGIN, by name.
    """
    text, replies, seen = b"", b"", b""
    names = dict(prepared)
    bound = False
    while len(data) - position >= 5:
        tag = data[position]
        end = position + 1 + int.from_bytes(data[position + 1 : position + 5], "big")
        if end > len(data) or end < position + 5:
            return None
        name, _, rest = data[position + 5 : end].partition(b"\0")
        position = end
        seen += bytes([tag])
        if seen == b"P" and not name:
            sql = rest.partition(b"\0")[0]
            if classify(sql).kind is not Kind.BEGIN:
                return None
            names[b""] = sql
            replies += messages.PARSE_COMPLETE
        elif tag == _BIND and not bound and not name and rest.partition(b"\0")[0] in names:
            text, bound = names[rest.partition(b"\0")[0]], True
            replies += messages.BIND_COMPLETE
        elif tag == _DESCRIBE and name in (b"P", b"S") and b"E" not in seen and (bound or name == b"S"):
            replies += messages.NO_DATA if name == b"P" else messages.NO_PARAMETERS + messages.NO_DATA
        elif tag == _EXECUTE and bound and not name and seen.count(b"E") == 1:
            replies += begun(text)
        elif tag == _SYNC and seen[-2:-1] == b"E":
            return text, replies, position
        else:
            return None
    return None
