"""Prepared statements that a client gives up in SQL: DEALLOCATE, DEALLOCATE ALL, DISCARD ALL.

What it prepared by protocol PostgreSQL knows by other names, so that a DEALLOCATE that names one would fail. For
PostgreSQL to find it, it is given an empty statement of that name first, a decoy; only the client's name goes then,
for others may use the statement on this server. Whether and when a text's DEALLOCATE was executed the tags of its
completions tell, in their order. A single one is answered here, if nothing is in the way.
"""

from collections import deque
from typing import TYPE_CHECKING, Final

from poolguard.relay import unnamed
from poolguard.relay.pipe import FAILED, SWALLOW
from poolguard.relay.replies import Reply
from poolguard.relay.unsure import EVERY_NAME, changing, changing_all, must_all_be_sure, must_be_sure
from poolguard.wire import messages
from poolguard.wire.text import Kind, Verdict

if TYPE_CHECKING:
    from poolguard.relay.server import Server
    from poolguard.relay.statements import Statement
    from poolguard.relay.talk import Talk

Owed = list[int | Reply]

_ONE: Final = b"DEALLOCATE"
_DISCARD: Final = b"DISCARD ALL"
_ALL: Final = (b"DEALLOCATE ALL", _DISCARD)
"""Tags of what was executed."""
_DEALLOCATED: Final = {status: messages.command_complete("DEALLOCATE") + messages.READY[status] for status in b"IT"} | {
    FAILED: messages.ABORTED + messages.READY[FAILED]
}


def decoy(name: bytes) -> bytes:
    """What gives PostgreSQL a statement called *name*; it can't fail, not even in a failed transaction."""
    return _close(name) + messages.message(b"P", name + b"\0\0\0\0")


def _close(name: bytes) -> bytes:
    return messages.message(b"C", b"S" + name + b"\0")


def must_be_known(session: "Talk", server: "Server", verdict: Verdict) -> None:
    """Raise Unsure while it isn't known which statements a Query would deallocate."""
    if verdict.forgets:
        must_all_be_sure(session, server)
    elif verdict.deallocates:
        must_be_sure(session, server, *verdict.deallocates)


def answered(session: "Talk", server: "Server", name: bytes) -> Reply:
    """A simple DEALLOCATE of one statement, with nothing unsynced before it: PostgreSQL need not see it.

    In a failed transaction it is refused, as by PostgreSQL; whether it is one may turn out only when its turn comes.
    """

    def done() -> None:
        if server.status != FAILED:
            session.statements.pop(name, None)

    session.unnamed = None  # any Query drops it
    if not server.replies:
        done()
        return Reply(by_status=_DEALLOCATED)
    reply = changing(session, Reply(by_status=_DEALLOCATED, on_done=done), name)
    session.batch += 1
    return reply


def asked(session: "Talk", server: "Server", verdict: Verdict) -> bytes | None:
    """Note what a Query owes that may deallocate; what to send ahead of it. None if it is of no concern."""
    names = dict.fromkeys(name for name in verdict.deallocates if name in session.statements)
    if not names and not verdict.forgets:
        return None
    left = deque(verdict.deallocates)

    def told(tag: bytes) -> bool:
        if tag == _ONE and left:
            name = left.popleft()
            names.pop(name, None)
            session.statements.pop(name, None)
        elif tag in _ALL:
            names.clear()
            session.statements.clear()
            server.known.clear()
            if tag == _DISCARD:
                session.discarded()
        return False

    def over() -> None:
        if names and not server.replies and not session.unsynced and session.server is server:
            # An error came before their turn: a later DEALLOCATE must not find them.
            server.replies.append(SWALLOW)
            server.write(b"".join(_close(name) for name in names) + messages.SYNC)
        elif names:
            server.forget_statements = True

    ahead = b"".join(decoy(name) for name in names)
    changed = (EVERY_NAME,) if verdict.forgets else tuple(names)
    server.replies.extend(Reply(swallow=True) for _ in range(2 * len(names)))
    server.replies.append(unnamed.drop(session, server, Reply(on_tag=told, on_done=over), *changed))
    session.batch += 1
    return ahead


def execute(session: "Talk", server: "Server", owed: Owed, verdict: Verdict, whole: bytes) -> bytes | None:
    """Execute of a DEALLOCATE or DISCARD; what to send in its place, or None for itself."""
    if verdict.kind is Kind.DEALLOCATE:
        return _execute_one(session, server, owed, verdict.name, whole)
    if session.unsure:
        must_all_be_sure(session, server)
    statements, known = session.statements, server.known
    before, prepared = statements.copy(), known.everything()

    def undone() -> None:
        statements.update(before)
        known.restore_all(prepared)  # else what is there would be prepared again, and that is an error

    statements.clear()
    known.clear()
    discarded = session.discarded if verdict.kind is Kind.DISCARD_ALL else None
    owed.append(changing_all(session, Reply(on_done=discarded, on_undone=undone)))
    return None


def _execute_one(session: "Talk", server: "Server", owed: Owed, name: bytes, execute: bytes) -> bytes:
    statement = session.statements.pop(name)
    ours = statement.name
    session.loses(ours, name)  # until its turn has come, errors may speak of it

    def done() -> None:
        session.lost.pop(ours, None)

    def undone() -> None:
        server.forget_statements = True  # the decoy may be left
        restore(session, name, statement)

    owed += (Reply(swallow=True), Reply(swallow=True), changing(session, Reply(on_done=done, on_undone=undone), name))
    return decoy(name) + execute


def restore(session: "Talk", name: bytes, statement: "Statement") -> None:
    """It was not given up after all."""
    session.statements[name] = statement
    session.lost.pop(statement.name, None)
