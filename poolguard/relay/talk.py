"""What a client says when it is not a single plain Query or batch: walked message by message, answered or forwarded."""

from time import monotonic
from typing import Final

from poolguard.core.errors import ClientViolation
from poolguard.ledger.entries import Phase
from poolguard.relay import extended, forgetting, listening, unnamed
from poolguard.relay.block import Block, BlockKind, begin_group
from poolguard.relay.client_pipe import BEGUN, STARTED, check_length
from poolguard.relay.keeping import Keeping
from poolguard.relay.pipe import BATCH, COPY_DATA, COPY_END, IDLE, IN_TRANSACTION, PASS, SIMPLE, SYNC, length_at
from poolguard.relay.replies import NotYet, Reply
from poolguard.relay.server import Server
from poolguard.relay.statements import name_and_rest
from poolguard.relay.unsure import Unsure
from poolguard.wire import messages
from poolguard.wire.text import PLAIN, Kind, Verdict, classify

PATIENCE_SECONDS: Final = 30.0
"""How long statements may go on that a client sent just before it said goodbye."""

_QUERY, _SYNC, _FLUSH, _TERMINATE, _CALL, _PARSE, _BIND, _CLOSE = b"QSHXFPBC"
_EXTENDED: Final = b"PBDEC"
_COPY: Final = b"dcf"
_COPY_END: Final = b"cf"
_NAMED: Final = b"PBDC"
_KNOWN: Final = b"QPBDECSHFXdcf"
_STATEMENT: Final = b"S"[0]
_BEGINNINGS: Final = (b"BEGIN", b"START")
"""How an unnamed BEGIN of the extended protocol begins: one with a comment in front is left to PostgreSQL."""
_PHASE_PINNED: Final = Phase.PINNED
_PHASE_ACTIVE: Final = Phase.ACTIVE  # an enum's attribute costs a look-up that a constant of the module does not


class Talk(Keeping):
    """The client's side of a session."""

    __slots__ = ()

    # Forwarding.

    def regate(self) -> None:
        """Choose who takes the next chunk."""
        if self.closed:
            self.gate = self.drop
        elif self.held is not None:
            self.gate = self.hold
        elif self.carry:
            self.gate = self._join
        elif self.block is not None:
            self.gate = self.begun if self.block.kind is BlockKind.DEFERRED else self.walk
        elif self.skipping or self.unsynced:  # behind what is not synced even a plain Query ends more than itself
            self.gate = self.walk
        elif self.server is not None and self.entry.phase is _PHASE_PINNED:
            self.gate = self.wake
        else:
            self.gate = None

    def wake(self, data: bytes) -> None:
        """The gate of a session that keeps its server between transactions: a new one begins, and its age with it."""
        self.entry.began_at = monotonic()
        self.gate = None
        self.data_received(data)

    def _join(self, data: bytes) -> None:
        carry = self.carry
        if len(carry) >= 5:  # its length has been checked: collect it without walking it anew
            if not isinstance(carry, bytearray):
                self.carry = carry = bytearray(carry)
            carry += data
            if len(carry) <= length_at(carry, 1)[0]:
                return
            data = b""
        self.carry = b""
        self.walk(bytes(carry) + data)

    def walk(self, data: bytes, prefix: bytes = b"") -> None:
        """Take any messages, answer what is ours, forward the rest in one write."""
        if data == messages.TERMINATE and not prefix:
            self._goodbye()
            return
        try:
            rest = self._walk(data, prefix)
            while rest:
                rest = self._walk(rest, b"")
        except ClientViolation as error:
            self.counters.protocol_violations_total += 1
            self.fatal(error)
        self.regate()

    def _walk(self, data: bytes, prefix: bytes) -> bytes:  # noqa: C901 - one loop; in parts each message would cost calls
        """Returns what is still to be walked."""
        size, position, start = len(data), 0, 0
        out = [prefix]
        owed: list[int | Reply] = []
        """Of the extended messages since the last Sync in *data*."""
        try:
            while size - position >= 5:
                end = position + 1 + length_at(data, position + 1)[0]
                if end > size or end < position + 5:
                    check_length(end - position - 1, self.message_limit)
                    break
                tag = data[position]
                if tag == _TERMINATE:
                    self._send(out, data[start:position], owed)
                    self._goodbye()
                    return b""
                server = self.server
                if server is None or self.block is not None or self.skipping:
                    answered = self._answer(tag, data, position, end)
                    if self.closed:
                        return b""
                    if answered:
                        position = start = answered
                        continue
                    if server is None and (server := self.check_out(out, data, position)) is None:
                        return b""
                    start = position
                replaced = self._forward(server, owed, data, position, end)
                if replaced is not None:
                    out += (data[start:position], replaced)
                    start = end
                    if self.resetting is not None:
                        self.held = data[end:]
                        self._send(out, b"", owed)
                        return b""
                position = end
        except (ClientViolation, listening.Bound, NotYet) as reason:
            return self._interrupted(reason, out, owed, data, start, position)
        if position < size:
            self.carry = data[position:]
        if position or prefix:
            self._send(out, data[start:position] if start or position < size else data, owed)
        return b""

    def _goodbye(self) -> None:
        """The client ends the session; what it has asked for is still done."""
        self.leave(patience=PATIENCE_SECONDS)
        self.transport.close()

    def _interrupted(
        self, reason: Exception, out: list[bytes], owed: list[int | Reply], data: bytes, start: int, position: int
    ) -> bytes:
        """The message at *position* is not simply forwarded; what came before it is. Returns what is to be walked."""
        if isinstance(reason, listening.Bound):
            assert self.server is not None, "bound without a server"
            ours, end = listening.executed(self, self.server, owed, data, position, reason)
            out.append(data[start:position])
            self._send(out, ours, owed)
            return data[end:]
        if isinstance(reason, NotYet):
            self.held, self.held_sql = data[position:], None
        if isinstance(reason, Unsure):
            self.awaited = reason.change
        self._send(out, data[start:position], owed)  # it counts, as with PostgreSQL
        if isinstance(reason, ClientViolation):
            raise reason
        return b""

    def check_out(self, out: list[bytes], data: bytes, position: int) -> Server | None:
        """Take a server for *data* from *position* on, or wait for one; what it must be told first goes to *out*."""
        server: Server | None = self.take()
        if server is not None:
            self.stranger = server.last is not self.entry
            out[:] = [self.attach(server, monotonic())]
        else:
            self.wait(data[position:], monotonic())
        return server

    def _forward(self, server: Server, owed: list[int | Reply], data: bytes, position: int, end: int) -> bytes | None:
        """Note what one message owes; what to send in its place, or None for the message itself."""
        tag = data[position]
        if tag in _EXTENDED:
            return extended.forward(self, server, owed, tag, data, position, end)
        if tag == _SYNC:
            return self._sync(server, owed)
        if owed:
            server.replies.extend(owed)
            owed.clear()
            self.unsynced = True
        if tag == _QUERY:
            return self._query(server, data[position + 5 : end - 1])
        self._other(server, tag)
        return data[position:end] if self.resetting is not None and not self.copying else None

    def _sync(self, server: Server, owed: list[int | Reply]) -> bytes | None:
        """The end of a batch; what to send in its place, or None for Sync itself."""
        replies = server.replies
        if self.copying:
            replies.extend(owed)
            owed.clear()
            server.doubts()  # PostgreSQL ignores it, unless the data sent before it are bad
            return None
        if owed and not self.unsynced and not server.skipping and owed.count(PASS) == len(owed):
            replies.append(BATCH)  # it came whole, and nothing of it was changed
        else:
            replies.extend(owed)
            replies.append(SYNC)
            self.batch += 1
        owed.clear()
        self.unsynced = server.skipping = False
        return messages.SYNC if self.due is not None and self.resets(server) else None

    def _send(self, out: list[bytes], rest: bytes, owed: list[int | Reply]) -> None:
        server = self.server
        if server is None:
            return
        if owed:
            server.replies.extend(owed)
            self.unsynced = True
        data = b"".join((*out, rest)) if len(out) > 1 or out[0] else rest
        if data:
            if self.entry.phase is not _PHASE_ACTIVE:
                self.entry.phase, self.entry.phase_since = _PHASE_ACTIVE, monotonic()
            server.write(data)
        replies = server.replies
        if not replies:
            if not self.unsynced:
                self.settled(server.status, monotonic())  # nothing was asked of PostgreSQL after all
        elif type(replies[0]) is Reply and (ours := server.local_replies()):
            self.deliver(b"".join(ours))
            if not replies and not self.unsynced:
                self.settled(server.status, monotonic())

    def _query(self, server: Server, sql: bytes) -> bytes | None:
        """A simple Query for PostgreSQL; what to send in its place, or None for the Query itself."""
        if server.skipping:
            self.note(sql)
            return None  # PostgreSQL discards it, like all up to Sync
        verdict = classify(sql)
        if verdict is not PLAIN:
            if self.unsure:
                forgetting.must_be_known(self, server, verdict)
            if verdict.subscribes:
                replaced = listening.simple(self, server, sql, verdict)
                if replaced is not None:
                    return replaced
        if self.unsure:
            self.batch += 1  # its ReadyForQuery ends what was not synced, too
        if verdict.kind is not Kind.DEALLOCATE or verdict.name not in self.statements:
            self.note(sql)  # what only clears up a driver's names says nothing of where its client stood
        if verdict is not PLAIN:
            return self._telling(server, sql, verdict)
        unnamed.owe_query(self, server)
        return messages.query(sql) if self.due is not None and self.resets(server) else None

    def ends_unsynced(self, server: Server) -> None:
        """A Query or FunctionCall in a batch without its Sync: its ReadyForQuery ends that, too."""
        # PostgreSQL 18 refuses the first statement after the Sync with XX000, whoever says it: let that be `clean`.
        self.unsynced, server.forget_statements = False, True

    def _telling(self, server: Server, sql: bytes, verdict: Verdict) -> bytes | None:
        """A simple Query that leaves something behind, or takes something back."""
        replies = server.replies
        alone = not self.unsynced
        if (refused := self.forbidden(verdict) or self.moves_path(verdict, server, sql, alone=alone)) is not None:
            self.unnamed, self.unsynced = None, False
            replies += (refused, SYNC)
            return extended.SURE_TO_FAIL + messages.SYNC
        ahead = self.heed(verdict, server, first=alone)
        if verdict.kind is Kind.DEALLOCATE and verdict.name in self.statements and not self.unsynced:
            replies.append(forgetting.answered(self, server, verdict.name))
            return b""
        if verdict.frees:
            self.frees(verdict.frees, server)
        if (decoys := forgetting.asked(self, server, verdict)) is None:
            unnamed.owe_query(self, server)
        else:
            if self.unsynced:
                self.ends_unsynced(server)
            ahead += decoys
        if self.due is not None:
            self.resets(server)
        return ahead + messages.query(sql)

    def _other(self, server: Server, tag: int) -> None:
        if tag == _CALL:
            if not server.skipping:
                if self.unsynced:
                    self.ends_unsynced(server)
                server.replies.append(SIMPLE if self.due is None else Reply(on_tag=unnamed.heard))
                if self.due is not None:
                    self.resets(server)
        elif tag in _COPY:
            if self.copying:
                self.copying -= tag in _COPY_END
            elif server.replies and not server.skipping:
                if tag in _COPY_END:
                    server.replies.append(COPY_END)
                elif server.replies[-1] is not COPY_DATA:
                    server.replies.append(COPY_DATA)
        elif tag != _FLUSH:
            raise ClientViolation(f"message type {chr(tag)!r} is not one that a client sends")

    # What is answered here.

    def _answer(self, tag: int, data: bytes, position: int, end: int) -> int:
        """Answer one message (or one whole BEGIN) without PostgreSQL; where it ends, or 0 if that can't be."""
        if tag not in _KNOWN:
            raise ClientViolation(f"message type {chr(tag)!r} is not one that a client sends")
        if self.skipping:
            if tag == _SYNC:
                self.skipping = False
                self.deliver(messages.READY[IDLE])
            return end
        if tag in _NAMED and end - position < extended.SHORTEST:
            raise ClientViolation(f"message of type {chr(tag)!r} ends before its first two strings")
        block = self.block
        if block is None:
            return self._answer_idle(tag, data, position, end)
        body = data[position + 5 : end]
        if tag == _PARSE and body[0] and not self._may_name(block, body):
            return 0
        reply = block.answer(tag, body, self._prepared_kind(tag, body))
        if reply:
            self.deliver(reply)
            self._keep_names(tag, body, reply)
        if block.status == IDLE and (reply is None or tag in (_QUERY, _SYNC)):
            self.block = None
            self.entry.phase = Phase.IDLE if self.server is None else Phase.PINNED
            if self.afterwards:
                self.come_to_rest()
        return 0 if reply is None else end

    def _may_name(self, block: Block, body: bytes) -> bool:
        """Whether a named Parse can be answered here; where PostgreSQL can see it, its word on names counts."""
        name = body.partition(b"\0")[0]
        return block.kind is not BlockKind.DEFERRED or (self.maps_names and name not in self.statements)

    def _keep_names(self, tag: int, body: bytes, reply: bytes) -> None:
        """A statement of the client's own was prepared or closed while its transaction existed only here."""
        if tag == _PARSE and reply == messages.PARSE_COMPLETE and (self.maps_names or not body[0]):
            name, rest = name_and_rest(body)
            if name:
                self.statements.setdefault(name, self.catalogue.intern(rest))
            else:
                self.unnamed = messages.message(b"P", body)
        elif tag == _CLOSE:
            self._close_name(body)

    def _close_name(self, body: bytes) -> None:
        if body[0] == _STATEMENT:
            self.statements.pop(body[1:-1], None)
            if len(body) == 2:
                self.unnamed = None

    def _answer_idle(self, tag: int, data: bytes, position: int, end: int) -> int:
        if tag == _QUERY:
            sql = data[position + 5 : end - 1]
            verdict = classify(sql)
            if verdict is PLAIN:
                return 0
            if verdict.kind is Kind.BEGIN:
                self.defer(sql, STARTED if verdict.name else BEGUN)
                return end
            if verdict.kind is Kind.DEALLOCATE and self.statements.pop(verdict.name, None) is not None:
                self.unnamed = None
                self.deliver(messages.command_complete("DEALLOCATE") + messages.READY[IDLE])
                return end
            return 0
        if tag in (_PARSE, _BIND):
            if tag == _PARSE and data[position + 6 : position + 11].upper() not in _BEGINNINGS:
                return 0
            begins = {name: s.text for name, s in self.statements.items() if s.begins}
            if tag == _BIND and not begins:
                return 0
            group = begin_group(data, position, begins)
            if group is None:
                return 0
            if tag == _PARSE:
                self.unnamed = data[position:end]
            self.defer(group[0], group[1] + messages.READY[IN_TRANSACTION])
            return group[2]
        if tag == _SYNC:
            self.deliver(messages.READY[IDLE])
            return end
        if tag == _CLOSE:
            self._close_name(data[position + 5 : end])
            self.deliver(messages.CLOSE_COMPLETE)
            return end
        # Outside of COPY PostgreSQL drops what is left of one (docs, 55.2.7); a Flush has nothing to flush.
        return end if tag in _COPY or tag == _FLUSH else 0

    def defer(self, begin: bytes, reply: bytes) -> None:
        """Answer a BEGIN with *reply*; PostgreSQL sees it together with what follows."""
        now = monotonic()
        self.counters.deferred_begins_total += 1
        self.block = Block(BlockKind.DEFERRED, begin=begin, began_at=now)
        self.entry.phase, self.entry.phase_since = Phase.DEFERRED, now
        self.gate = self.begun
        self.deliver(reply)

    def _prepared_kind(self, tag: int, body: bytes) -> Kind | None:
        if tag not in b"BD":
            return None
        names = body.split(b"\0", 2) if tag == _BIND else (b"", body[1:].partition(b"\0")[0])
        statement = self.statements.get(names[1]) if len(names) > 1 else None
        return statement.verdict.kind if statement is not None else None
