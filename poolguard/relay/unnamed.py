"""The unnamed statement of the extended protocol: each client's own, whoever else uses its server.

A session knows its Parse, and so does the server that PostgreSQL has seen it on last, by identity: on any other one it
is sent again in front of the Bind that needs it. Whether PostgreSQL took it is for PostgreSQL to say: a Parse that
failed leaves nothing behind, and a Bind goes out as it stands to the server that knows so. On another server the
Parse of a session that met an error since is sent again on trial: refused anew, it was never there (26000).
"""

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final

from poolguard.relay import listening
from poolguard.relay.asides import aside
from poolguard.relay.pipe import PASS, SIMPLE, is_query
from poolguard.relay.replies import Reply
from poolguard.relay.unsure import changing, must_be_sure
from poolguard.wire import messages
from poolguard.wire.text import PLAIN, Verdict, classify

if TYPE_CHECKING:
    from poolguard.relay.server import Server
    from poolguard.relay.talk import Talk

_BIND: Final = b"B"[0]
_DROP: Final = messages.message(b"C", b"S\0")
_MISSING: Final = messages.error_response("26000", "unnamed prepared statement does not exist")

NAME: Final = b""
"""What unsure.py knows it by."""

Owed = list[int | Reply]


def meaning(session: "Talk") -> Verdict:
    """What it will do."""
    parse = session.unnamed
    return PLAIN if parse is None else classify(parse[6 : parse.index(b"\0", 6)])


def prepare(session: "Talk", server: "Server", owed: Owed, whole: bytes, verdict: Verdict) -> None:
    """A Parse of it goes to PostgreSQL."""
    owed.append(_changes(session, server, whole) if owed or _may_be_skipped(session) else PASS)
    session.unnamed = whole
    # Of a LISTEN an equal one, not the same: so that its Bind is not overlooked.
    server.unnamed = bytes(bytearray(whole)) if verdict.subscribes else whole


def close(session: "Talk", server: "Server", owed: Owed) -> None:
    """A Close of it goes to PostgreSQL."""
    owed.append(_changes(session, server, None) if owed or _may_be_skipped(session) else PASS)
    session.unnamed = server.unnamed = None


def drop(session: "Talk", server: "Server", query: Reply, *names: Hashable) -> Reply:
    """A Query that owes *query* goes to PostgreSQL, which drops it, unless an error skips the Query.

    *names*: what else the Query may change.
    """
    query.on_undone = _taken_back(session, server, None)
    session.unnamed = server.unnamed = None
    return changing(session, query, NAME, *names)


def owe_query(session: "Talk", server: "Server") -> None:
    """A Query goes to PostgreSQL, whose ReadyForQuery ends what was not synced, too."""
    if session.unsynced:
        server.replies.append(drop(session, server, Reply(on_tag=heard)))
        session.ends_unsynced(server)
        session.batch += 1
    else:
        session.unnamed = server.unnamed = None
        server.replies.append(SIMPLE)


def heard(tag: bytes) -> bool:
    """Nothing of a Query's reply is kept from the client."""
    del tag
    return False


def _may_be_skipped(session: "Talk") -> bool:
    """Whether it comes behind something unsynced, or behind a Query that may be skipped itself."""
    return session.unsynced or NAME in session.unsure


def _changes(session: "Talk", server: "Server", parse: bytes | None) -> Reply:
    """Parse or Close of it, behind something that may fail: skipped, it leaves all as it was."""
    mine = session.unnamed

    def failed() -> None:
        if session.unnamed is mine:
            session.unnamed = server.unnamed = None

    return changing(session, Reply(on_undone=_taken_back(session, server, parse), on_failed=failed), NAME)


def _taken_back(session: "Talk", server: "Server", parse: bytes | None) -> Callable[[], None]:
    mine, there = session.unnamed, server.unnamed

    def undone() -> None:
        # Unless another Parse or a Query came behind the next Sync.
        if session.unnamed is parse and (parse is not None or not any(is_query(owed) for owed in server.replies)):
            session.unnamed, server.unnamed = mine, there

    return undone


def replaced(session: "Talk", server: "Server", owed: Owed, sql: bytes) -> bytes:
    """What runs a statement of poolguard's own in the client's batch, and leaves that as the unnamed one."""
    there, server.unnamed = server.unnamed, None

    def undone() -> None:
        if server.unnamed is None:
            server.unnamed = there

    own, replies = aside(sql, undone)
    owed += replies
    changing(session, replies[-1], NAME)
    return own


def use(session: "Talk", server: "Server", owed: Owed, whole: bytes) -> bytes | None:
    """Bind or Describe of it; what to send in its place, or None for itself. May raise Unsure, or listening.Bound."""
    if session.unsure:
        must_be_sure(session, server, NAME)
    mine = session.unnamed
    if server.unnamed is mine and mine is not None:
        owed.append(PASS)
        return None
    verdict = meaning(session)
    fanned_out = whole[0] == _BIND and bool(verdict.subscribes) and listening.ready(session, verdict)
    there = bool(verdict.subscribes) and server.unnamed == mine
    ours = whole
    if not fanned_out:
        session.foresee(verdict, server, first=False)
    if not there:
        # Else the server's is another session's, or an older one: it must never be run in place of this session's.
        server.unnamed = bytes(bytearray(mine or b"")) if verdict.subscribes else mine
        owed.append(_again(server, doubted=mine is not None and session.doubted is mine))
        ours = (mine or _DROP) + whole
    owed.append(PASS)
    if fanned_out:
        raise listening.Bound(ours, whole[5 : whole.index(b"\0", 5)], verdict)
    return ours


def _again(server: "Server", *, doubted: bool) -> Reply:
    def undone() -> None:
        server.unnamed = None

    return Reply(swallow=True, on_undone=undone, error=_MISSING if doubted else b"")
