"""A PostgreSQL in memory: bytes in, bytes out. It follows the rules of PostgresMain (src/backend/tcop/postgres.c).

It knows transactions, prepared statements, portals, COPY, parameters, cancelling and errors, and some statements by
their first words (`_COMMANDS`); rows hold the statement's own text, so that it shows which statement was run.
tests/integration/support/test_fakepg.py compares it with the real one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from poolguard.wire import messages
from poolguard.wire.framing import FrameSplitter

GREETING = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "TimeZone": "Etc/UTC",
    "application_name": "poolguard app",
}
"""What it reports at login, and reports again when it changes."""

_CONFIG = re.compile(r"set_config\(E'((?:[^'\\]|\\.|'')*)',E'((?:[^'\\]|\\.|'')*)',false\)")
_EXITS = ("COMMIT", "END", "ROLLBACK", "ABORT")


class Failure(Exception):
    """An ERROR of the statement that runs."""

    def __init__(self, sqlstate: str, text: str, severity: str = "ERROR") -> None:
        super().__init__(text)
        self.sqlstate, self.text, self.severity = sqlstate, text, severity


class Closed(Exception):
    """The backend has ended."""


def row(*values: str) -> bytes:
    """A DataRow."""
    raw = [value.encode("utf-8", "surrogateescape") for value in values]
    cells = b"".join(len(value).to_bytes(4, "big") + value for value in raw)
    return messages.message(b"D", len(values).to_bytes(2, "big") + cells)


DESCRIPTION = messages.message(b"T", b"\0\1text\0" + bytes(6) + b"\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")
COPY_IN = messages.message(b"G", b"\0\0\1\0\0")
COPY_OUT = messages.message(b"H", b"\0\0\1\0\0")


@dataclass
class FakePostgres:
    """One backend. `feed` takes what a client sends and returns what it is told."""

    pid: int = 1
    status: str = "I"
    parameters: dict[str, str] = field(default_factory=lambda: dict(GREETING))
    ran: list[str] = field(default_factory=list)
    """Every statement that was executed, in order."""
    parsed: list[str] = field(default_factory=list)
    """Every text that was prepared, in order."""
    committed: list[str] = field(default_factory=list)
    """INSERTs that are there to stay."""
    running: str = ""
    """A statement that goes on until `finish` or `cancel`."""
    closed: bool = False
    said_goodbye: bool = False
    advisory_locks: int = 0
    listens: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._frames = FrameSplitter(max_body=2**30)
        self._login = dict(self.parameters)
        self._told = dict(self.parameters)
        self._before: list[tuple[str, dict[str, str]]] = []
        """Parameters at the beginning of the transaction and at each savepoint, with the savepoint's name."""
        self._inserts: list[str] = []
        self.prepared: dict[str, str] = {}
        self._portals: dict[str, str] = {}
        self._spent: set[str] = set()
        """Portals that have been executed to their end."""
        self._skips = False
        self._copies = ""
        self._rest: list[str] = []
        self._waiting: list[tuple[int, bytes]] = []
        self._out = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Take *data*; what it says in answer."""
        self._waiting += self._frames.feed(data)
        return self._work()

    def finish(self) -> bytes:
        """End the statement that goes on, successfully."""
        assert self.running, "nothing goes on"
        running, self.running = self.running, ""
        self._say(b"C", b"SELECT 1\0")
        self._after_statement(running)
        return self._work()

    def cancel(self) -> bytes:
        """A CancelRequest: it ends what runs, also a COPY; else it does nothing."""
        if self.running or self._copies:
            mode = self.running or self._copies
            self.running = self._copies = ""
            self._fails(Failure("57014", "canceling statement due to user request"), simple=mode == "simple")
        return self._work()

    def die(self, sqlstate: str = "57P01") -> bytes:
        """End as after pg_terminate_backend; its last words."""
        self.closed = True
        return messages.error_response(sqlstate, "terminating connection", severity="FATAL")

    # Messages.

    def _work(self) -> bytes:
        try:
            while self._waiting and not self.running and not self.closed:
                tag, body = self._waiting.pop(0)
                self._message(chr(tag), body)
        except Closed:
            self.closed = True
        out = bytes(self._out)
        self._out.clear()
        return out

    def _message(self, tag: str, body: bytes) -> None:
        if tag == "X":
            self.said_goodbye = True
            raise Closed
        if self._copies:
            self._copy_message(tag, body)
            return
        if tag in "dcf" or (self._skips and tag != "S"):
            return
        if tag == "Q":
            self.prepared.pop("", None)
            self._portals.pop("", None)
            self._rest = [text.strip() for text in body[:-1].decode("utf-8", "surrogateescape").split(";")]
            self._rest = [text for text in self._rest if text] or [""]
            if any(text.startswith("SYNTAX") for text in self._rest):
                self._fails(Failure("42601", "syntax error"), simple=True)  # the whole text is read before any is run
            else:
                self._go_on_simple()
        elif tag == "S":
            self._skips = False
            self._sync()
        elif tag == "F":
            self._say(b"V", b"\0\0\0\1x")
            self._say(b"Z", self.status.encode())
        elif tag in "PBDEC":
            try:
                getattr(self, f"_on_{tag}")(*body.decode("utf-8", "surrogateescape").split("\0"))
            except Failure as failure:
                self._fails(failure, simple=False)
        elif tag != "H":
            self._out += messages.error_response("08P01", f"invalid frontend message type {ord(tag)}", severity="FATAL")
            raise Closed

    def _on_P(self, name: str, text: str, *_: str) -> None:  # noqa: N802 - named by its message
        if not name:
            self.prepared.pop("", None)
        if text.startswith("SYNTAX"):
            raise Failure("42601", "syntax error")
        if text:
            self._refuse_if_aborted(text)
        if name in self.prepared:
            raise Failure("42P05", f'prepared statement "{name}" already exists')
        self.prepared[name] = text
        self.parsed.append(text)
        self._say(b"1")

    def _on_B(self, portal: str, name: str, *_: str) -> None:  # noqa: N802
        text = self._statement(name)
        self._refuse_if_aborted(text)
        self._portals[portal] = text
        self._spent.discard(portal)
        self._say(b"2")

    def _on_D(self, what: str, *_: str) -> None:  # noqa: N802
        kind, name = what[0], what[1:]
        if kind == "S":
            text = self._statement(name)
            self._say(b"t", b"\0\0")
        else:
            text = self._portal(name)
        self._out += DESCRIPTION if _has_rows(text) else messages.NO_DATA

    def _on_E(self, portal: str, *_: str) -> None:  # noqa: N802
        text = self._portal(portal)
        if not text:
            self._say(b"I")
        elif portal not in self._spent:
            self._spent.add(portal)
            self._run(text, simple=False)
        else:
            self._refuse_if_aborted(text)
            if not _has_rows(text):
                raise Failure("55000", f'portal "{portal}" cannot be run')
            self._say(b"C", b"SHOW\0" if text.startswith("SHOW") else b"SELECT 0\0")

    def _on_C(self, what: str, *_: str) -> None:  # noqa: N802
        (self.prepared if what[0] == "S" else self._portals).pop(what[1:], None)
        self._say(b"3")

    def _statement(self, name: str) -> str:
        if name not in self.prepared:
            what = f'prepared statement "{name}"' if name else "unnamed prepared statement"
            raise Failure("26000", f"{what} does not exist")
        return self.prepared[name]

    def _portal(self, name: str) -> str:
        if name not in self._portals:
            raise Failure("34000", f'portal "{name}" does not exist')
        return self._portals[name]

    def _copy_message(self, tag: str, body: bytes) -> None:
        mode = self._copies
        if tag == "d" and body.startswith(b"BAD"):
            self._copies = ""
            self._fails(Failure("22P02", "invalid row"), simple=mode == "simple")
        elif tag == "c":
            self._copies = ""
            self._say(b"C", b"COPY 1\0")
            self._after_statement(mode)
        elif tag == "f":
            self._copies = ""
            self._fails(Failure("57014", "COPY from stdin failed"), simple=mode == "simple")
        elif tag not in "dHS":
            # Found before the message was read, so that PostgreSQL is out of step.
            self._out += messages.error_response("08P01", f"unexpected message type during COPY: {tag}")
            self._fails(Failure("08P01", "protocol synchronization was lost", "FATAL"), simple=False)

    # Statements.

    def _go_on_simple(self) -> None:
        try:
            while self._rest and not self.running and not self._copies:
                text = self._rest.pop(0)
                if not text:
                    self._say(b"I")
                else:
                    self._run(text, simple=True)
        except Failure as failure:
            self._fails(failure, simple=True)
            return
        if not self.running and not self._copies:
            self._sync()

    def _after_statement(self, mode: str) -> None:
        if mode == "simple":
            self._go_on_simple()

    def _sync(self) -> None:
        if self.status == "I":
            self._commit()
        for name in GREETING:  # since PostgreSQL 14 only here, and only if it is another than was told last
            if self._told[name] != self.parameters[name]:
                self._told[name] = self.parameters[name]
                self._out += messages.parameter_status(name, self.parameters[name])
        self._say(b"Z", self.status.encode())

    def _commit(self) -> None:
        self.committed += self._inserts
        self._inserts, self._before = [], []
        self._portals.clear()

    def _roll_back(self) -> None:
        self._inserts = []
        self._portals.clear()
        if self._before:
            self.parameters = dict(self._before[0][1])
        self._before = []

    def _fails(self, failure: Failure, *, simple: bool) -> None:
        self._out += messages.error_response(failure.sqlstate, failure.text, severity=failure.severity)
        if failure.severity == "FATAL":
            raise Closed
        if self.status == "I":
            self._roll_back()
        elif self.status == "T":
            self.status = "E"
            if self._before:
                self.parameters = dict(self._before[-1][1])
        self._rest = []
        if simple:
            self._sync()
        else:
            self._skips = True

    def _refuse_if_aborted(self, text: str) -> None:
        if self.status == "E" and not text.upper().startswith(_EXITS):
            raise Failure("25P02", "current transaction is aborted, commands ignored until end of transaction block")

    def _run(self, text: str, *, simple: bool) -> None:
        self._refuse_if_aborted(text)
        self.ran.append(text)
        words = text.upper().split()
        command = _COMMANDS.get(words[0])
        tag = words[0] if command is None else command(self, text, words, simple)
        if tag:
            self._say(b"C", tag.encode() + b"\0")

    def _say(self, tag: bytes, body: bytes = b"") -> None:
        self._out += messages.message(tag, body)

    def _warn(self, sqlstate: str, text: str) -> None:
        self._out += messages.notice_response(sqlstate, text)

    def _set(self, name: str, value: str) -> None:
        name = {known.lower(): known for known in GREETING}.get(name.lower(), name)
        if self.status == "I" and not self._before:
            self._before = [("", dict(self.parameters))]
        self.parameters[name] = value

    def _reset(self) -> None:
        for name in list(self.parameters):
            self._set(name, self._login.get(name, ""))

    # What each command does; returns its tag, or "" if that is said later.

    def _begin(self, text: str, words: list[str], simple: bool) -> str:
        if self.status == "T":
            self._warn("25001", "there is already a transaction in progress")
        elif not self._before:
            self._before = [("", dict(self.parameters))]
        self.status = "T"
        return words[0] if words[0] == "BEGIN" else "START TRANSACTION"

    def _end(self, text: str, words: list[str], simple: bool) -> str:
        failed, was_open = self.status == "E", self.status != "I"
        if words[1:2] == ["TO"]:
            if not was_open:
                raise Failure("25P01", "ROLLBACK TO SAVEPOINT can only be used in transaction blocks")
            while self._before and self._before[-1][0] != words[-1] and words[-1] in {name for name, _ in self._before}:
                self._before.pop()
            if not self._before or self._before[-1][0] != words[-1]:
                raise Failure("3B001", "savepoint does not exist")
            self.parameters = dict(self._before[-1][1])
            self.status = "T"
            return "ROLLBACK"
        if not was_open:
            self._warn("25P01", "there is no transaction in progress")
        self.status = "I"
        commits = words[0] in ("COMMIT", "END")
        if commits and not failed:
            self._commit()
        else:
            self._roll_back()
        return "COMMIT" if commits and not failed else "ROLLBACK"

    def _savepoint(self, text: str, words: list[str], simple: bool) -> str:
        if self.status == "I":
            raise Failure("25P01", "SAVEPOINT can only be used in transaction blocks")
        self._before.append((words[1], dict(self.parameters)))
        return "SAVEPOINT"

    def _select(self, text: str, words: list[str], simple: bool) -> str:
        if "set_config" in text:
            for name, value in _CONFIG.findall(text):
                self._set(_plain(name), _plain(value))
        if "PG_ADVISORY_LOCK" in text.upper():
            self.advisory_locks += 1
        if words[-1] == "FOREVER":
            self.running = "simple" if simple else "extended"
        if simple:
            self._out += DESCRIPTION
        if words[-1] == "FOREVER":
            return ""
        count = int(words[1]) if words[1:] and words[1].isdigit() else int(words[1:2] != ["WHERE"])
        for _ in range(count):
            self._out += row(text)
        return f"SELECT {count}"

    def _show(self, text: str, words: list[str], simple: bool) -> str:
        value = {key.lower(): value for key, value in self.parameters.items()}.get(words[1].lower(), "")
        self._out += (DESCRIPTION if simple else b"") + row(value)
        return "SHOW"

    def _tricky(self, text: str, words: list[str], simple: bool) -> str:
        """A row that ends in what looks like ReadyForQuery."""
        self._out += (DESCRIPTION if simple else b"") + row("x" + messages.READY[ord("I")].decode())
        return "TRICKY"

    def _insert(self, text: str, words: list[str], simple: bool) -> str:
        self._inserts.append(text)
        return "INSERT 0 1"

    def _fail(self, text: str, words: list[str], simple: bool) -> str:
        self._out += (DESCRIPTION if simple else b"") + row("before the error")
        raise Failure(words[1] if words[1:] else "22012", "failed as it was asked to")

    def _die(self, text: str, words: list[str], simple: bool) -> str:
        raise Failure("57P01", "terminating connection due to administrator command", "FATAL")

    def _notice(self, text: str, words: list[str], simple: bool) -> str:
        self._warn("01000", "as asked")
        return "NOTICE"

    def _set_command(self, text: str, words: list[str], simple: bool) -> str:
        name, value = re.split(r"\s*(?:=|\bTO\b)\s*", text[4:], maxsplit=1)
        if value == "BAD":
            raise Failure("22023", "invalid value for parameter")
        self._set(name.strip(), value.strip("'"))
        return "SET"

    def _reset_command(self, text: str, words: list[str], simple: bool) -> str:
        if words[1] == "ALL":
            self._reset()
        else:
            name = text.split()[1].strip('"')
            known = {key.lower(): value for key, value in self._login.items()}
            self._set(name, known.get(name.lower(), ""))
        return "RESET"

    def _discard(self, text: str, words: list[str], simple: bool) -> str:
        if self.status != "I":
            raise Failure("25001", "DISCARD ALL cannot run inside a transaction block")
        self._reset()
        self.prepared.clear()
        self.advisory_locks = 0
        self.listens.clear()
        return "DISCARD ALL"

    def _deallocate(self, text: str, words: list[str], simple: bool) -> str:
        name = text.split()[-1].strip('"')
        if name.upper() == "ALL":
            self.prepared.clear()
            return "DEALLOCATE ALL"
        if self.prepared.pop(name, None) is None:
            raise Failure("26000", f'prepared statement "{name}" does not exist')
        return "DEALLOCATE"

    def _listen(self, text: str, words: list[str], simple: bool) -> str:
        self.listens.add(words[1])
        return "LISTEN"

    def _unlisten(self, text: str, words: list[str], simple: bool) -> str:
        self.listens.discard(words[1].strip('"'))
        return "UNLISTEN"

    def _copy(self, text: str, words: list[str], simple: bool) -> str:
        if words[-1] == "STDIN":
            self._copies = "simple" if simple else "extended"
            self._out += COPY_IN
            return ""
        self._out += COPY_OUT + messages.message(b"d", b"one\n") + messages.message(b"d", b"two\n")
        self._say(b"c")
        return "COPY 2"


def _plain(quoted: str) -> str:
    return quoted.replace("''", "'").replace("\\\\", "\\")


def _has_rows(text: str) -> bool:
    return text.upper().startswith(("SELECT", "SHOW", "TRICKY", "FAIL"))


_COMMANDS: dict[str, Callable[[FakePostgres, str, list[str], bool], str]] = {
    "BEGIN": FakePostgres._begin,
    "START": FakePostgres._begin,
    "COMMIT": FakePostgres._end,
    "END": FakePostgres._end,
    "ROLLBACK": FakePostgres._end,
    "ABORT": FakePostgres._end,
    "SAVEPOINT": FakePostgres._savepoint,
    "SELECT": FakePostgres._select,
    "SHOW": FakePostgres._show,
    "TRICKY": FakePostgres._tricky,
    "INSERT": FakePostgres._insert,
    "FAIL": FakePostgres._fail,
    "DIE": FakePostgres._die,
    "NOTICE": FakePostgres._notice,
    "SET": FakePostgres._set_command,
    "RESET": FakePostgres._reset_command,
    "DISCARD": FakePostgres._discard,
    "DEALLOCATE": FakePostgres._deallocate,
    "LISTEN": FakePostgres._listen,
    "UNLISTEN": FakePostgres._unlisten,
    "COPY": FakePostgres._copy,
}
