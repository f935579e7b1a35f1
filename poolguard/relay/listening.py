"""LISTEN and UNLISTEN of a client on their way to PostgreSQL, and notifications on their way to the client.

In a pool of mode `transaction` LISTEN must not stay in the server, which is another client's after the transaction.
It still runs there as the client wrote it, so that every error, notice and tag is PostgreSQL's own; in the same
transaction it is taken back by UNLISTEN, and a mark is notified (see notifications.py) that makes it count for the
listening server instead. The extra replies are swallowed.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from poolguard.relay.asides import aside
from poolguard.relay.listener import Listener
from poolguard.relay.listening_server import quoted
from poolguard.relay.pipe import PASS, length_at
from poolguard.relay.replies import NotYet, Reply
from poolguard.wire import messages
from poolguard.wire.subscriptions import Subscription
from poolguard.wire.text import Verdict

if TYPE_CHECKING:
    from poolguard.relay.server import Server
    from poolguard.relay.talk import Talk

MOST_CHANNELS: Final = 1000
"""Channels and undecided changes of one client. Past it LISTEN keeps its server instead, and so costs a server."""

_DESCRIBE, _EXECUTE = b"DE"


class Unready(NotYet):
    """The listening server must hear *channels* before the message at hand may go on."""

    def __init__(self, listener: Listener, channels: tuple[bytes, ...]) -> None:
        self.listener = listener
        self.channels = channels


class Bound(Exception):
    """A LISTEN was bound to *portal*; *data* is what to send for it. It counts when it is executed."""

    def __init__(self, data: bytes, portal: bytes, verdict: Verdict) -> None:
        self.data = data
        self.portal = portal
        self.verdict = verdict


class Subscriber:
    """A session that listens: what it can't be told yet is kept, within bounds."""

    __slots__ = ("_kept", "_kept_bytes", "_session", "discards", "listeners")

    def __init__(self, session: "Talk") -> None:
        self._session = session
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self.discards = False
        """A DISCARD ALL has been sent, and no error has come since."""
        self.listeners: list[Listener] = []
        """Where it has subscriptions; more than one if statement routes lead it to several pools."""

    def tell(self, pid: int, message: bytes) -> bool:
        """See listener.Hearer: at once if it is at rest, else at the end of its transaction (docs, NOTIFY)."""
        session = self._session
        if session.closed:
            return True
        own = session.entry.session_id % 2**31
        if session.pin and session.server is not None and session.server.backend_pid == pid:
            message = _from_backend(own, message)  # its own: drivers compare with what BackendKeyData said
        elif pid == own:
            message = _from_backend(0, message)  # another's whose number happens to be the same
        return self._say(message)

    def warn(self, notice: bytes) -> None:
        """See listener.Hearer."""
        self._say(notice)

    def _say(self, message: bytes) -> bool:
        session = self._session
        if not self._kept and session.can_be_told:
            session.deliver(message)
            return True
        if self._kept_bytes + len(message) > session.buffer_limit:
            return False
        self._kept.append(message)
        self._kept_bytes += len(message)
        session.afterwards = True
        return True

    def rest(self) -> None:
        """The session is at rest: tell it what was kept, and settle what is undecided."""
        if self.discards:
            self.discards = False
            self.leave()
        if not self._session.can_be_told:
            self._session.afterwards = True
        elif self._kept:
            data = b"".join(self._kept)
            self._kept.clear()
            self._kept_bytes = 0
            self._session.deliver(data)
        for listener in self.listeners:
            listener.settle(self)

    def changed(self) -> None:
        """See listener.Hearer."""
        self._session.entry.channels = sum(listener.book.channels_of(self) for listener in self.listeners)

    def leave(self) -> None:
        """It listens to nothing any more."""
        for listener in self.listeners:
            listener.leave(self)
        self.listeners.clear()
        self.changed()


def _from_backend(pid: int, message: bytes) -> bytes:
    return message[:5] + pid.to_bytes(4, "big") + message[9:]


def simple(session: "Talk", server: "Server", sql: bytes, verdict: Verdict) -> bytes | None:
    """What to send for a Query of LISTENs and UNLISTENs; None: as it stands. Raises Unready."""
    if session.unsynced and any(begins for begins, _ in verdict.subscribes):
        session.listens_itself = True  # what is taken back behind it would end what PostgreSQL 18 leaves open then
    listener = chosen(session, verdict)
    if listener is None:
        return None
    begun = tuple(channel for begins, channel in verdict.subscribes if begins)
    if not listener.require(begun, session.listen_again):
        raise Unready(listener, begun)
    session.note(sql)
    session.frees(verdict.frees, server)
    session.unnamed = server.unnamed = None
    if session.unsynced:
        session.ends_unsynced(server)
    mark, undone = _propose(session, listener, verdict.subscribes)
    left = len(verdict.subscribes) + len(begun) + 1

    def heard(tag: bytes) -> bool:
        nonlocal left
        del tag
        left -= 1
        return left <= len(begun)  # what is behind the client's own

    def over() -> None:
        if left:
            undone()

    server.replies.append(Reply(on_tag=heard, on_done=over, on_undone=undone))
    # A line's end first: the client's text may end in a comment.
    taken_back = b"".join(b";UNLISTEN " + quoted(channel) for channel in begun)
    return messages.query(sql + b"\n" + taken_back + b";" + mark)


def ready(session: "Talk", verdict: Verdict) -> bool:
    """Before a Bind: False if it goes as it stands. Raises Unready."""
    listener = chosen(session, verdict)
    if listener is None:
        return False
    begun = tuple(channel for begins, channel in verdict.subscribes if begins)
    if not listener.require(begun, session.listen_again):
        raise Unready(listener, begun)
    return True


def executed(
    session: "Talk", server: "Server", owed: list[int | Reply], data: bytes, position: int, bound: Bound
) -> tuple[bytes, int]:
    """What to send for the Bind of a LISTEN at *position* and what belongs to it, and where that ends."""
    behind = position + 1 + length_at(data, position + 1)[0]
    end = _end_of_execute(data, behind, bound.portal)
    listener = chosen(session, bound.verdict)
    if not end or listener is None:
        # Its Execute does not follow at once: no driver does that, and the server can as well be kept.
        session.listens_itself = True
        session.heed(bound.verdict, server)
        return bound.data, behind
    owed += [PASS] * (2 if data[behind] == _DESCRIBE else 1)
    mark, undone = _propose(session, listener, bound.verdict.subscribes)
    out = [bound.data, data[behind:end]]
    taken_back = [aside(b"UNLISTEN " + quoted(channel)) for begins, channel in bound.verdict.subscribes if begins]
    for ours, replies in (*taken_back, aside(mark, undone)):
        out.append(ours)
        owed += replies
    server.unnamed = None
    return b"".join(out), end


def _end_of_execute(data: bytes, position: int, portal: bytes) -> int:
    """Where [Describe] Execute of *portal* end, if that is what comes at *position*; else 0."""
    if data[position : position + 1] == b"D":
        if len(data) - position < 7 or data[position + 5 : position + 7 + len(portal)] != b"P" + portal + b"\0":
            return 0
        position += 1 + length_at(data, position + 1)[0]
    if len(data) - position < 5 or data[position] != _EXECUTE:
        return 0
    end = position + 1 + int(length_at(data, position + 1)[0])
    return end if end <= len(data) and data[position + 5 : end].startswith(portal + b"\0") else 0


def chosen(session: "Talk", verdict: Verdict) -> Listener | None:
    """Who is to hear for *session*; None if the statement goes to its own server unchanged."""
    listener, subscriber = session.listener, session.subscriber
    if listener is None or (session.listens_itself and not listener.ready):
        return None
    if not any(begins for begins, _ in verdict.subscribes):
        # UNLISTEN of nothing is nothing, also on a hot standby, where a mark would fail.
        return listener if subscriber is not None and listener.book.knows(subscriber) else None
    # The listening server speaks the encoding of the pool's servers: who has another listens by itself.
    session.listens_itself = (
        session.listens_itself
        or any(name == "client_encoding" for name, _ in session.wanted.items)
        or (subscriber is not None and listener.book.load(subscriber) >= MOST_CHANNELS)
    )
    return None if session.listens_itself else listener


def _propose(
    session: "Talk", listener: Listener, subscribes: tuple[Subscription, ...]
) -> tuple[bytes, Callable[[], None]]:
    subscriber = session.subscriber
    if subscriber is None:
        subscriber = session.subscriber = Subscriber(session)
    if listener not in subscriber.listeners:
        subscriber.listeners.append(listener)
    session.afterwards = True
    number = listener.book.propose(subscriber, subscribes)
    return listener.mark(number), partial(listener.book.void, number)
