"""The hot path: bytes from client to server and from server to client.

This module breaks two rules of the house on purpose. It returns no effects and builds no objects per message: it
looks at tag and length, forwards the bytes that it was given, and changes ledger and books in place. And it writes
to sockets directly (`os.write`) while the transport's own buffer is empty. docs/bench.md says what that bought.

What it keeps: every message is walked by its header, exactly (a row may end in bytes that look like ReadyForQuery);
a client's message is forwarded whole or not at all; a server is given back only when every reply that it owes has
come and the last ReadyForQuery said `I` (PostgreSQL docs, 55.2.3).

`ServerPipe.replies` is what the server owes, in order. A simple Query owes SIMPLE (everything up to
ReadyForQuery), a query of our own SWALLOW. In the extended protocol a batch that came with its Sync, and in which
nothing was changed, owes BATCH, which is read like SIMPLE. Otherwise each of Parse, Bind, Describe, Execute and
Close owes one completion (PASS, or a Reply that says what else is to be done with it), and Sync owes SYNC. After an
error PostgreSQL discards everything up to Sync, and so do the replies. COPY_DATA and COPY_END owe nothing: they mark
where COPY data, and their end, were sent before PostgreSQL had asked; without a COPY before them it drops them, too.
A simple Query each of whose completions matters owes a Reply with `on_tag`, and up to its ReadyForQuery that alone.

What PostgreSQL says goes on as it came, but for two things that only poolguard can know: an error that names one of
our statements, and the error of a message that was made to fail in the client's place (`Reply.error`).
"""

import asyncio
import struct
from collections import deque
from os import write as _write
from time import monotonic
from typing import Final

from poolguard.core.errors import ServerViolation
from poolguard.relay.guest import Guest
from poolguard.relay.replies import Reply
from poolguard.wire import messages

SIMPLE: Final = 1
SWALLOW: Final = 2
SYNC: Final = 3
PASS: Final = 4
BATCH: Final = 5
RESETTING: Final = 6
"""No reply of its own: the ReadyForQuery before it is kept back, until the guest has its own values again."""
COPY_END: Final = 7  # this and all above it are marks
COPY_DATA: Final = 8

IDLE, IN_TRANSACTION, FAILED = b"ITE"
"""ReadyForQuery's status byte."""

length_at: Final = struct.Struct("!I").unpack_from
"""The four bytes of a message's length, as a tuple of one."""
_header: Final = struct.Struct("!BI").unpack_from
_READY, _ERROR, _COPY_IN, _COMPLETE = b"ZEGC"
_UNBOUNDED: Final = b"DdV"
"""Rows, COPY data and the results of function calls: passed on in parts."""

_FROM_SERVER: Final = b"ZESGTDCINAHcdnts123V"
"""What PostgreSQL says to a client that has logged in."""
_WATCHED: Final = bytes(tag in b"ZESG" or tag not in _FROM_SERVER for tag in range(256))
"""By tag, inside a simple query's reply: what must be looked at.

A length below 4 needs no check of its own: the next tag is then read inside of that length, where the bytes are 0 or
3, which are no tags.
"""
_COMPLETES: Final = bytes(tag in b"123nTCIs" for tag in range(256))
"""By tag, inside the extended protocol: what completes one of the client's messages."""

_BEGUN: Final = messages.command_complete("BEGIN") + messages.READY[IN_TRANSACTION]
_BEGUN_BYTES: Final = len(_BEGUN)

_PARSED_AND_BOUND: Final = b"1\0\0\0\4" + b"2\0\0\0\4"
"""ParseComplete and BindComplete, with which the answer to a batch begins."""

MAX_SERVER_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes of a message that must be seen whole (an error, a row's description)."""
MAX_ROW: Final = 0x4000_0000
"""Bytes of a row, or of a piece of COPY data, which are passed on in parts: PostgreSQL makes none over 1 GiB."""


def is_query(owed: int | Reply) -> bool:
    """Whether *owed* is that of a whole simple Query, with its ReadyForQuery."""
    return owed is SIMPLE or (type(owed) is Reply and owed.on_tag is not None)


class Writer(asyncio.Protocol):
    """Half of a pipe: a socket that is written to at once while nothing is queued for it.

    Slots all the way down: attributes are found faster, and an idle client is smaller.
    """

    __slots__ = ("fd", "queued", "transport")

    def __init__(self, transport: asyncio.Transport, *, tls: bool) -> None:
        self.transport = transport
        self.fd = -1
        """For writing past the transport; -1 where only the transport may write (TLS)."""
        self.queued = False
        if not tls and (sock := transport.get_extra_info("socket")) is not None:
            self.fd = sock.fileno()
        transport.set_write_buffer_limits(high=0)

    def write(self, data: bytes) -> None:
        """Send *data* after whatever is queued. A broken socket is left to connection_lost."""
        if self.queued:
            if self.transport.is_closing():
                return
            if self.transport.get_write_buffer_size():
                self.transport.write(data)
                return
            self.queued = False
        fd = self.fd
        if fd < 0:
            if not self.transport.is_closing():  # uvloop raises where asyncio's loop only warns
                self.transport.write(data)
            return
        try:
            sent = _write(fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.transport.abort()
            return
        if sent != len(data):
            self.queued = True
            self.transport.write(memoryview(data)[sent:])


class ServerPipe(Writer):
    """From PostgreSQL to whoever is the guest."""

    __slots__ = ("_carry", "_midway", "_passing", "guest", "replies", "skipping", "status")

    guest: Guest
    _carry: bytes | bytearray

    def __init__(self, transport: asyncio.Transport, *, tls: bool) -> None:
        super().__init__(transport, tls=tls)
        self.replies: deque[int | Reply] = deque()
        self.status = IDLE
        self.skipping = False
        """PostgreSQL discards everything up to Sync: nothing else that is sent gets a reply."""
        self._carry = b""
        self._midway = False
        """The next bytes belong to a message whose beginning has been seen."""
        self._passing = 0
        """Bytes still to come of a row that is forwarded in parts."""

    def data_received(self, data: bytes) -> None:
        """Deliver one whole plain reply with the least that can be done; leave everything else to walk()."""
        replies = self.replies
        last = len(data) - 6
        # Cheap guesses first; the walk over the headers then proves that the last message is ReadyForQuery.
        if len(replies) == 1 and last >= 0 and data[last] == _READY and not self._midway:
            owed = replies[0]
            if owed is SIMPLE or owed is BATCH:
                position = 10 if owed is BATCH and data.startswith(_PARSED_AND_BOUND) else 0
                while position < last:
                    tag, length = _header(data, position)
                    if _WATCHED[tag]:
                        break
                    position += length + 1
                if position == last:
                    replies.popleft()
                    self.status = status = data[-1]
                    guest = self.guest
                    guest.deliver(data)
                    if guest is self.guest:
                        guest.settled(status, monotonic())
                    return
        elif len(replies) == 2 and data.startswith(_BEGUN) and not self._midway:
            # A deferred BEGIN that went out ahead of a plain Query: PostgreSQL mostly answers both in one piece.
            begin, owed = replies
            if begin is SWALLOW and (owed is SIMPLE or owed is BATCH):
                replies.popleft()
                self.status = IN_TRANSACTION
                if len(data) > _BEGUN_BYTES:
                    self.data_received(data[_BEGUN_BYTES:])
                return
        self.walk(data)

    def walk(self, data: bytes) -> None:
        """Walk the headers in *data*, deliver what is the guest's, note what changes state."""
        guest = self.guest
        position = 0
        self._midway = False
        if carry := self._carry:
            if len(carry) >= 5 and len(carry) + len(data) <= length_at(carry, 1)[0]:
                # Its length has been checked: collect it without joining and walking it anew with each piece.
                if not isinstance(carry, bytearray):
                    self._carry = carry = bytearray(carry)
                carry += data
                self._midway = True
                return
            data = b"".join((carry, data))
            self._carry = b""
        elif self._passing:
            if self._passing >= len(data):
                self._passing -= len(data)
                self._midway = self._passing > 0
                guest.deliver(data)
                return
            position, self._passing = self._passing, 0
        size = len(data)
        start = 0
        replies = self.replies
        settled = resetting = False
        out: list[bytes] = []
        end = 0
        last = size - 5
        while position <= last:
            owed = replies[0] if replies else SIMPLE
            if owed is SIMPLE or owed is BATCH:
                while position <= last:
                    tag, end = _header(data, position)
                    end += position + 1
                    if end > size:
                        break
                    if _WATCHED[tag]:
                        if tag == _READY:
                            if replies:
                                replies.popleft()
                            elif self.watch(tag, b"", swallowing=False) is None:
                                return
                            self.status = data[position + 5]
                            if replies and self._more(guest):
                                out.append(data[start:position])
                                start, resetting = end, True
                            position = end
                            settled = not replies
                            break
                        if tag not in _FROM_SERVER:
                            self.violated(f"message of type {tag}")
                            return
                        said = self.watch(tag, data[position + 5 : end], swallowing=False)
                        if said is not None:
                            out += (data[start:position], said)
                            start = end
                        if tag == _COPY_IN:
                            position = end
                            break  # what is owed may be another thing now
                    position = end
                else:
                    break
                if end > size:
                    break
                continue
            if owed.local if type(owed) is Reply else owed >= COPY_END:
                out.append(data[start:position])
                start = position
                out += self.local_replies()
                continue
            tag = data[position]
            end = position + 1 + length_at(data, position + 1)[0]
            if end > size:
                break
            if owed is SWALLOW:
                out.append(data[start:position])
                start = end
                if tag == _READY:
                    replies.popleft()
                    self.status = data[position + 5]
                    if replies and replies[0] is RESETTING:
                        replies.popleft()
                        resetting = True
                    settled = not replies
                elif replies[-1] is RESETTING and tag == _COMPLETE:
                    guest.swallowed(data[position + 5 : end - 1])
                elif _WATCHED[tag]:
                    if tag not in _FROM_SERVER:
                        self.violated(f"message of type {tag}")
                        return
                    self.watch(tag, data[position + 5 : end], swallowing=True)
            elif _COMPLETES[tag]:
                if owed is PASS:
                    replies.popleft()
                elif type(owed) is Reply:
                    if owed.on_tag is not None:
                        swallowed = tag == _COMPLETE and owed.on_tag(data[position + 5 : end - 1])
                    else:
                        replies.popleft()
                        swallowed = owed.completed()
                    if swallowed:
                        out.append(data[start:position])
                        start = end
            elif tag == _READY:
                if type(owed) is Reply and owed.on_tag is not None:
                    replies.popleft()
                    owed.completed()
                else:
                    while replies and replies.popleft() is not SYNC:
                        pass
                self.status = data[position + 5]
                if replies and self._more(guest):
                    out.append(data[start:position])
                    start, resetting = end, True
                settled = not replies
            elif _WATCHED[tag]:
                if tag not in _FROM_SERVER:
                    self.violated(f"message of type {tag}")
                    return
                if tag == _ERROR and not is_query(owed):
                    self.discard_to_sync()
                said = self.watch(tag, data[position + 5 : end], swallowing=False)
                if tag == _ERROR and type(owed) is Reply and owed.error:
                    said = owed.refused()
                if said is not None:
                    out += (data[start:position], said)
                    start = end
            position = end

        if replies and (replies[0].local if type(replies[0]) is Reply else replies[0] >= COPY_END):
            out.append(data[start:position])
            start = position
            out += self.local_replies()
            settled = not replies
        if position < size:
            start, position = self._hold_tail(data, start, position, size)
            if start < 0:
                return
        if out:
            out.append(data[start:position])
            data = b"".join(out)
        elif start or position < size:
            data = data[start:position]
        if self.guest is guest:  # else it has been told of its server's end, which is the last that it hears
            if data:
                guest.deliver(data)
            if resetting:
                guest.reset_over(self.status)
            elif settled and not replies:
                guest.settled(self.status, monotonic())

    def _more(self, guest: Guest) -> bool:
        """Behind a ReadyForQuery more is owed; True if that itself is kept back."""
        if self.replies[0] is RESETTING:
            self.replies.popleft()
            return True
        if self.status == IDLE:
            guest.transaction_over()
        return False

    def _hold_tail(self, data: bytes, start: int, position: int, size: int) -> tuple[int, int]:
        """Keep an incomplete message for later; a row or COPY data goes on in parts instead.

        Returns where what is delivered now begins and ends; -1 if this server can't be trusted any more.
        """
        if data[position] not in _FROM_SERVER:
            self.violated(f"message of type {data[position]}")
            return -1, position
        if size - position >= 5 and not (self.replies and self.replies[0] is SWALLOW):
            length = length_at(data, position + 1)[0]
            if data[position] in _UNBOUNDED and length <= MAX_ROW:
                self._passing = position + 1 + length - size
                self._midway = True
                return start, size
            if length > MAX_SERVER_MESSAGE:
                self.violated("message too long")
                return -1, position
        self._carry = data[position:]
        self._midway = True
        return start, position

    def local_replies(self) -> list[bytes]:
        """Take the replies that poolguard gives itself, up to the next that PostgreSQL owes."""
        replies, ours = self.replies, []
        while replies:
            head = replies[0]
            if type(head) is Reply and head.local:
                ours.append(head.local if head.by_status is None else head.by_status[self.status])
                head.completed()
            elif type(head) is Reply or head < COPY_END:
                break
            replies.popleft()
        return ours

    def discard_to_sync(self) -> None:
        """An error: nothing that was sent up to the next Sync is done, or replied to."""
        replies, undone = self.replies, []
        failed = replies[0] if replies else PASS
        while replies and replies[0] is not SYNC and replies[0] is not BATCH:
            head = replies.popleft()
            if type(head) is Reply:
                undone.append(head)
        self.skipping = not replies
        for reply in reversed(undone):  # each finds the books as it left them
            reply.undone()
        if type(failed) is Reply and failed.on_failed is not None:
            failed.on_failed()

    def watch(self, tag: int, body: bytes, *, swallowing: bool) -> bytes | None:
        """See an ErrorResponse, ParameterStatus or CopyInResponse; what to deliver in its place, or None for itself."""
        raise NotImplementedError

    @property
    def mid_row(self) -> bool:
        """The guest has been given the beginning of a message, and not yet its end."""
        return self._passing > 0

    def violated(self, what: str) -> None:
        """PostgreSQL broke the protocol: this server can't be trusted with another byte."""
        self.guest.server_lost(ServerViolation(f"the server sent a {what}"))
        self.transport.abort()
