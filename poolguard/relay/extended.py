"""The extended protocol on its way to PostgreSQL: owed replies noted, clients' statement names mapped to ours."""

from typing import TYPE_CHECKING, Final

from poolguard.relay.pipe import FAILED, PASS
from poolguard.relay.replies import Reply
from poolguard.relay.statements import Statement, name_and_rest, server_name
from poolguard.wire import messages
from poolguard.wire.text import PLAIN, classify

if TYPE_CHECKING:
    from poolguard.relay.server import Server
    from poolguard.relay.talk import Talk

_PARSE, _BIND, _DESCRIBE, _EXECUTE, _CLOSE = b"PBDEC"
_STATEMENT: Final = b"S"[0]

Owed = list[int | Reply]


def forward(
    session: "Talk", server: "Server", owed: Owed, tag: int, data: bytes, position: int, end: int
) -> bytes | None:
    """Note in *owed* what one message owes; what to send in its place, or None for the message itself."""
    if server.skipping:
        session.unsynced = True
        return None  # PostgreSQL discards it, like all up to Sync
    if tag == _EXECUTE:
        owed.append(PASS)
        return None
    first = data[position + 5]
    if tag in (_DESCRIBE, _CLOSE):
        if first != _STATEMENT:
            owed.append(PASS)
            return None
        name, _ = name_and_rest(data[position + 6 : end])
        if tag == _CLOSE:
            return _close(session, server, owed, name)
        return _named(session, server, owed, data[position:end], name, b"D", b"S", b"\0")
    if tag == _PARSE:
        return _parse(session, server, owed, data[position:end])
    if first == 0 and data[position + 6] == 0:
        if server.unnamed is session:
            owed.append(PASS)
            return None
        return _unnamed(session, server, owed, data[position:end])
    whole = data[position:end]
    portal, rest = name_and_rest(whole[5:])
    name, rest = name_and_rest(rest)
    return _named(session, server, owed, whole, name, b"B", portal + b"\0", b"\0" + rest)


def deallocated(server: "Server") -> Reply | None:
    """DEALLOCATE in SQL of a statement that was prepared by protocol: only the client's name for it goes.

    Others may use it on this server. None in a failed transaction, where PostgreSQL refuses it.
    """
    if server.status == FAILED:
        return None
    return Reply(local=messages.command_complete("DEALLOCATE") + messages.READY[server.status])


def _parse(session: "Talk", server: "Server", owed: Owed, whole: bytes) -> bytes | None:
    if whole[5] == 0:
        end = whole.index(b"\0", 6)
        sql = whole[6:end]
        name, rest = b"", b""
    else:
        name, rest = name_and_rest(whole[5:])
        sql, _ = name_and_rest(rest)
    session.note(sql)
    verdict = classify(sql)
    if verdict is not PLAIN:
        session.heed(verdict, server)
    if not name:
        session.unnamed, server.unnamed = whole, session
    if not name or not session.maps_names:
        if name and not session.pin:
            session.pin_for_statement()
        owed.append(PASS)
        return None
    statement = session.catalogue.intern(rest)
    if name in session.statements:
        # Prepared twice without Close: PostgreSQL says 42P05, as it must, about the name that it knows.
        missing = _ensure(server, owed, session.statements[name])
        owed.append(PASS)
        return missing + session.statements[name].parse
    statements, known = session.statements, server.known
    statements[name] = statement
    if len(statements) > session.around.limits().statements_per_client:
        del statements[next(iter(statements))]
    if statement in known and server.status != FAILED:
        known.use(statement)
        owed.append(Reply(local=messages.PARSE_COMPLETE, on_undone=lambda: _forget_name(session, name, statement)))
        return b""
    if statement in known:
        owed.append(Reply(on_undone=lambda: _forget_name(session, name, statement)))
        return statement.parse

    def undone() -> None:
        _forget_name(session, name, statement)
        known.forget(statement)

    owed.append(Reply(on_undone=undone))
    return statement.parse + _make_room(server, owed, statement)


def _forget_name(session: "Talk", name: bytes, statement: Statement) -> None:
    if session.statements.get(name) is statement:
        del session.statements[name]


def _ensure(server: "Server", owed: Owed, statement: Statement) -> bytes:
    """The Parse of *statement*, if *server* lacks it; its completion is not the client's."""
    known = server.known
    if statement in known:
        known.use(statement)
        return b""
    owed.append(Reply(swallow=True, on_undone=lambda: known.forget(statement)))
    return statement.parse + _make_room(server, owed, statement)


def _make_room(server: "Server", owed: Owed, statement: Statement) -> bytes:
    evicted = server.known.add(statement)
    if evicted is None:
        return b""
    owed.append(Reply(swallow=True))
    return evicted.close


def _named(
    session: "Talk", server: "Server", owed: Owed, whole: bytes, name: bytes, tag: bytes, before: bytes, after: bytes
) -> bytes | None:
    """Bind or Describe of a statement by name."""
    if not name:
        return _unnamed(session, server, owed, whole)
    statement = session.statements.get(name) if session.maps_names else None
    if statement is None:
        owed.append(PASS)
        ours = server_name(name) if session.maps_names else name
        return None if ours is name else messages.message(tag, before + ours + after)
    missing = _ensure(server, owed, statement)
    owed.append(PASS)
    if tag == b"B":
        session.note(statement.text)
    return missing + messages.message(tag, before + statement.name + after)


def _unnamed(session: "Talk", server: "Server", owed: Owed, whole: bytes) -> bytes | None:
    """Bind or Describe of the unnamed statement, which lives until the session's next Parse or Query."""
    if server.unnamed is session or session.unnamed is None:
        owed.append(PASS)
        return None
    server.unnamed = session
    owed.append(Reply(swallow=True))
    owed.append(PASS)
    return session.unnamed + whole


def _close(session: "Talk", server: "Server", owed: Owed, name: bytes) -> bytes | None:
    if not name:
        session.unnamed = server.unnamed = None
        owed.append(PASS)
        return None
    if not session.maps_names:
        owed.append(PASS)
        return None
    # Others may share it on this server: only the client's name goes.
    session.statements.pop(name, None)
    owed.append(Reply(local=messages.CLOSE_COMPLETE))
    return b""
