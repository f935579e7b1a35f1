"""The extended protocol on its way to PostgreSQL: owed replies noted, clients' statement names mapped to ours."""

from functools import partial
from typing import TYPE_CHECKING, Final

from poolguard.core.errors import ClientViolation
from poolguard.relay import forgetting, listening, unnamed
from poolguard.relay.client_pipe import executes_plainly
from poolguard.relay.pipe import FAILED, IDLE, PASS, SWALLOW, length_at
from poolguard.relay.replies import Reply
from poolguard.relay.statements import NOWHERE, Statement, name_and_rest, server_name
from poolguard.relay.unsure import changing, must_be_sure
from poolguard.wire import messages
from poolguard.wire.text import PLAIN, Kind, Pin, Verdict, classify

if TYPE_CHECKING:
    from poolguard.relay.server import Server
    from poolguard.relay.talk import Talk

_PARSE, _BIND, _DESCRIBE, _EXECUTE, _CLOSE = b"PBDEC"
_STATEMENT: Final = b"S"[0]

SHORTEST: Final = 7
"""Bytes of the shortest Parse, Bind, Describe or Close: header, and two strings or a kind and a string."""

_RESULT_CHANGED: Final = messages.error_response("0A000", "cached plan must not change result type")
_EXITS: Final = (b"commit", b"end", b"rollback", b"abort", b"prepare transaction")
"""What a failed transaction lets through; ROLLBACK TO a savepoint, too."""
SURE_TO_FAIL: Final = messages.message(b"B", b"\0" + NOWHERE + b"\0" + bytes(6))
"""Bind of a statement that there never is."""

Owed = list[int | Reply]


def forward(  # noqa: C901 - one function; in parts each message would cost calls
    session: "Talk", server: "Server", owed: Owed, tag: int, data: bytes, position: int, end: int
) -> bytes | None:
    """Note in *owed* what one message owes; what to send in its place, or None for the message itself."""
    if server.skipping or session.copying:
        session.unsynced = True
        return None  # PostgreSQL discards it, like all up to Sync; in COPY it ends the connection
    if tag == _EXECUTE:
        if session.portals:
            return _execute(session, server, owed, data[position:end])
        owed.append(PASS)
        return None
    if end - position < SHORTEST:
        raise ClientViolation(f"message of type {chr(tag)!r} ends before its first two strings")
    first = data[position + 5]
    if tag in (_DESCRIBE, _CLOSE):
        if first != _STATEMENT:
            owed.append(PASS)
            return None
        name, _ = name_and_rest(data[position + 6 : end])
        if name and session.unsure:
            _must_know(session, server, name)
        if tag == _CLOSE:
            return _close(session, server, owed, name)
        return _named(session, server, owed, data[position:end], name, b"D", b"S", b"\0")
    if tag == _PARSE:
        return _parse(session, server, owed, data[position:end])
    whole = data[position:end]
    portal, rest = name_and_rest(whole[5:])
    name, rest = name_and_rest(rest)
    if name and session.unsure:
        _must_know(session, server, name)
    verdict = _meaning(session, name)
    if verdict is not PLAIN:
        _bind(session, server, owed, portal, verdict)
        if verdict.resets or Pin.PATH in verdict.pins:
            alone = _is_alone(data, position, end)
            refused = session.moves_path(verdict, server, _text(session, name), alone=alone)
            if refused is not None:
                owed.append(refused)
                return SURE_TO_FAIL
    elif session.portals:
        session.portals.pop(portal, None)
    return _named(session, server, owed, whole, name, b"B", portal + b"\0", b"\0" + rest)


def _must_know(session: "Talk", server: "Server", name: bytes) -> None:
    """Raise Unsure while it isn't known what a Bind, Describe or Close of *name* is about."""
    statement = session.statements.get(name)
    if statement is None:
        must_be_sure(session, server, name)
    else:
        must_be_sure(session, server, name, statement, session.catalogue.intern(statement.body, session.context()))


def _meaning(session: "Talk", name: bytes) -> Verdict:
    """What the statement that the client calls *name* will do."""
    if name:
        statement = session.statements.get(name)
        return statement.verdict if statement is not None else session.verdicts.get(name, PLAIN)
    return unnamed.meaning(session)


def _bind(session: "Talk", server: "Server", owed: Owed, portal: bytes, verdict: Verdict) -> None:
    portals = session.portals
    if server.status == IDLE and not (owed or server.replies or session.unsynced):
        portals.clear()  # those of earlier transactions are gone
    portals.pop(portal, None)
    portals[portal] = verdict
    if len(portals) > session.around.limits().statements_per_client:
        del portals[next(iter(portals))]


def _is_alone(data: bytes, position: int, end: int) -> bool:
    """Whether all of *data* is one batch, which runs nothing but what the Bind at *position* binds."""
    if not executes_plainly(data, end):  # first: of many Binds in *data* that is true of the last one alone
        return False
    at = 0
    while at < position and data[at] in (_PARSE, _DESCRIBE):
        at += 1 + length_at(data, at + 1)[0]
    return at == position


def _text(session: "Talk", name: bytes) -> bytes:
    """What a Bind of *name* runs, as far as that is known."""
    if name:
        statement = session.statements.get(name)
        return statement.text if statement is not None else session.entry.statement
    parse = session.unnamed
    return b"" if parse is None else parse[6 : parse.index(b"\0", 6)]


def _execute(session: "Talk", server: "Server", owed: Owed, whole: bytes) -> bytes | None:
    """Execute of what may not be plain: only now it takes effect."""
    verdict = session.portals.get(name_and_rest(whole[5:])[0], PLAIN)
    if verdict.kind is Kind.DEALLOCATE:
        if session.unsure:
            must_be_sure(session, server, verdict.name)
        if verdict.name in session.statements:
            return forgetting.execute(session, server, owed, verdict, whole)
    if verdict.kind is Kind.DISCARD_ALL:
        session.freeing = verdict.frees  # committed at once or an error, and an error takes this back
    session.takes_effect(verdict, server)
    ours = forgetting.execute(session, server, owed, verdict, whole) if verdict.forgets else None
    if not verdict.forgets:
        owed.append(PASS)
    sql = session.resets_here(verdict, owed)
    return (ours or whole) + unnamed.replaced(session, server, owed, sql) if sql else ours


def _parse(session: "Talk", server: "Server", owed: Owed, whole: bytes) -> bytes | None:
    if whole[5] == 0:
        name, rest = b"", b""
        sql, _ = name_and_rest(whole[6:])
    else:
        name, rest = name_and_rest(whole[5:])
        sql, _ = name_and_rest(rest)
        if session.unsure:
            must_be_sure(session, server, name, session.catalogue.intern(rest, session.context()))
    session.note(sql)
    verdict = classify(sql)
    ahead = b""
    if verdict is not PLAIN:
        if (refused := session.forbidden(verdict)) is not None:
            owed.append(refused)
            return SURE_TO_FAIL
        ahead = session.foresee(verdict, server, first=not owed and not session.unsynced)
    if not name:
        unnamed.prepare(session, server, owed, whole, verdict)
        return ahead + whole if ahead else None
    if not session.maps_names:
        if Pin.PROTOCOL_PREPARE not in session.pins:
            session.pin_for(Pin.PROTOCOL_PREPARE)
        owed.append(session.remember(name, verdict) if verdict is not PLAIN or name in session.verdicts else PASS)
        return ahead + whole if ahead else None
    return ahead + _parse_named(session, server, owed, name, rest)


def _parse_named(session: "Talk", server: "Server", owed: Owed, name: bytes, body: bytes) -> bytes:
    statement = session.catalogue.intern(body, session.context())
    known = server.known
    if name in session.statements:
        return _parse_again(session, server, owed, name, statement)
    statements = session.statements
    statements[name] = statement
    if len(statements) > session.around.limits().statements_per_client:
        del statements[next(iter(statements))]
    closed = b""
    if statement in known:
        if server.status != FAILED and not server.forget_statements and not _may_have_failed(server):
            known.use(statement)
            told = Reply(local=messages.PARSE_COMPLETE, on_undone=lambda: _forget_name(session, name, statement))
            owed.append(changing(session, told, name))
            return b""
        # PostgreSQL must judge it itself (it may refuse it in a failed transaction), or plan it anew.
        closed = statement.close
        owed.append(Reply(swallow=True, on_undone=lambda: known.add(statement)))

    def undone() -> None:
        _forget_name(session, name, statement)
        known.forget(statement)

    owed.append(changing(session, Reply(on_undone=undone), name, statement))
    return closed + statement.parse + _make_room(session, server, owed, statement)


def _may_have_failed(server: "Server") -> bool:
    """Whether an error that has not come yet may have failed the transaction; a BEGIN of our own can't."""
    return any(owed is not SWALLOW for owed in server.replies)


def _parse_again(session: "Talk", server: "Server", owed: Owed, name: bytes, statement: Statement) -> bytes:
    """A name prepared twice without Close: PostgreSQL says what is wrong with the text, else 42P05 of our own name."""
    first, known = session.statements[name], server.known

    text = statement.text.strip(b"; \t\r\n")
    lets_through = not text or text[:20].lower().startswith(_EXITS)

    def done() -> None:
        # There was no first: it was skipped because of an error that had not come yet.
        if lets_through:
            known.forget(first)
            server.forget_statements = True
        else:
            known.add(first)
        session.statements[name] = statement

    # The text first, as PostgreSQL reads it before it looks for the name.
    missing = _ensure(session, server, owed, statement) if statement is not first else b""
    missing += _ensure(session, server, owed, first)
    reply = Reply(on_done=done, on_failed=lambda: session.loses(first.name, name))
    owed.append(changing(session, reply, name, first))
    # A text that a failed transaction lets through meets the name there, too.
    return missing + (messages.message(b"P", first.name + b"\0\0\0\0") if lets_through else first.parse)


def _forget_name(session: "Talk", name: bytes, statement: Statement) -> None:
    if session.statements.get(name) is statement:
        del session.statements[name]
        session.loses(statement.name, name)  # a Bind of it may be on its way


def _ensure(session: "Talk", server: "Server", owed: Owed, statement: Statement) -> bytes:
    """The Parse of *statement*, if *server* lacks it; its completion is not the client's."""
    known = server.known
    if statement in known:
        known.use(statement)
        return b""
    owed.append(changing(session, Reply(swallow=True, on_undone=lambda: known.forget(statement)), statement))
    return statement.parse + _make_room(session, server, owed, statement)


def _make_room(session: "Talk", server: "Server", owed: Owed, statement: Statement) -> bytes:
    closes = b""
    known = server.known
    known.add(statement)
    while (evicted := known.evict()) is not None:
        owed.append(changing(session, Reply(swallow=True, on_undone=partial(known.restore, evicted)), evicted))
        closes += evicted.close
    return closes


def _named(
    session: "Talk", server: "Server", owed: Owed, whole: bytes, name: bytes, tag: bytes, before: bytes, after: bytes
) -> bytes | None:
    """Bind or Describe of a statement by name."""
    if not name:
        return unnamed.use(session, server, owed, whole)
    statement = session.statements.get(name) if session.maps_names else None
    if statement is None:
        if tag == b"B" and (verdict := session.verdicts.get(name, PLAIN)) is not PLAIN:
            session.listens_itself |= bool(verdict.subscribes)
            session.foresee(verdict, server, first=False)
        owed.append(PASS)
        ours = server_name(name) if session.maps_names else name
        return None if ours is name else messages.message(tag, before + ours + after)
    verdict = statement.verdict if tag == b"B" else PLAIN
    fanned_out = verdict is not PLAIN and bool(verdict.subscribes) and listening.ready(session, verdict)
    if statement in server.known:
        server.known.use(statement)
        missing = b""
    elif statement.stale and server.status != FAILED:
        return _changed(session, owed, statement)
    else:
        if statement.context != (context := session.context()):
            statement = session.catalogue.intern(statement.body, context)  # it would be prepared in a wrong one
            session.loses(statement.name, name)
        missing = _ensure(session, server, owed, statement)
    if session.binding is not owed and not server.replies:
        session.binding, session.bound = owed, {statement}
    else:
        session.bound.add(statement)
    first = not owed and not session.unsynced
    owed.append(PASS)
    ours = missing + messages.message(tag, before + statement.name + after)
    if tag == b"B":
        session.note(statement.text)
        if fanned_out:
            raise listening.Bound(ours, before[:-1], verdict)
        if verdict is not PLAIN:
            ours = session.foresee(verdict, server, first=first) + ours
    return ours


def _changed(session: "Talk", owed: Owed, statement: Statement) -> bytes:
    """A statement whose columns have changed since the client heard of them: as on the servers that still have it."""
    owed.append(Reply(error=_RESULT_CHANGED, on_error=partial(session.renew, (statement,))))
    return SURE_TO_FAIL


def _close(session: "Talk", server: "Server", owed: Owed, name: bytes) -> bytes | None:
    if not name:
        unnamed.close(session, server, owed)
        return None
    if not session.maps_names:
        owed.append(PASS)
        return None
    # Others may share it on this server: only the client's name goes.
    statement = session.statements.pop(name, None)
    told = Reply(local=messages.CLOSE_COMPLETE)
    if statement is not None:
        ours = statement.name
        session.loses(ours, name)  # until its turn has come, errors may speak of it
        told.on_done = lambda: session.lost.pop(ours, None)
        told.on_undone = lambda: forgetting.restore(session, name, statement)
    owed.append(changing(session, told, name))
    return b""
