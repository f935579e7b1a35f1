"""Build and read single messages (PostgreSQL docs, 55.7 Message Formats)."""

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from poolguard.core.errors import PoolguardError, ServerViolation

_LENGTH: Final = struct.Struct("!I")


def message(tag: bytes, body: bytes = b"") -> bytes:
    """One message: tag, length, body."""
    return tag + _LENGTH.pack(len(body) + 4) + body


# What a server says.

PARSE_COMPLETE: Final = message(b"1")
BIND_COMPLETE: Final = message(b"2")
CLOSE_COMPLETE: Final = message(b"3")
NO_DATA: Final = message(b"n")
NO_PARAMETERS: Final = message(b"t", b"\0\0")
EMPTY_QUERY: Final = message(b"I")
AUTHENTICATION_OK: Final = message(b"R", b"\0\0\0\0")
READY: Final[Mapping[int, bytes]] = {status: message(b"Z", bytes([status])) for status in b"ITE"}
"""ReadyForQuery by status byte: idle, in a transaction, in a failed one."""


def command_complete(tag: str) -> bytes:
    """CommandComplete, for the few commands that poolguard answers itself."""
    return message(b"C", tag.encode() + b"\0")


def parameter_status(name: str, value: str) -> bytes:
    """ParameterStatus. Surrogate escapes go out as the bytes that they stand for."""
    return message(b"S", name.encode() + b"\0" + value.encode("utf-8", "surrogateescape") + b"\0")


def backend_key_data(pid: int, key: bytes) -> bytes:
    """BackendKeyData: what the client shows to cancel."""
    return message(b"K", struct.pack("!I", pid) + key)


def parameters_reported(status: Mapping[str, str]) -> bytes:
    """One ParameterStatus for each."""
    return b"".join(parameter_status(name, value) for name, value in status.items())


def greeting(status: Mapping[str, str], pid: int, key: bytes) -> bytes:
    """Everything from AuthenticationOk to ReadyForQuery."""
    return ready_greeting(parameters_reported(status), pid, key)


def ready_greeting(reported: bytes, pid: int, key: bytes) -> bytes:
    """The same, with what `parameters_reported` gave."""
    return AUTHENTICATION_OK + reported + backend_key_data(pid, key) + READY[b"I"[0]]


def authentication_sasl(mechanisms: Sequence[str]) -> bytes:
    """AuthenticationSASL: offer *mechanisms*, best first."""
    return message(b"R", struct.pack("!I", 10) + b"".join(m.encode() + b"\0" for m in mechanisms) + b"\0")


def authentication_sasl_continue(data: bytes) -> bytes:
    """AuthenticationSASLContinue."""
    return message(b"R", struct.pack("!I", 11) + data)


def authentication_sasl_final(data: bytes) -> bytes:
    """AuthenticationSASLFinal."""
    return message(b"R", struct.pack("!I", 12) + data)


def negotiate_protocol_version(newest: int, unknown: Sequence[str]) -> bytes:
    """NegotiateProtocolVersion: the *newest* version we speak (major << 16 | minor), options we don't know."""
    names = b"".join(name.encode() + b"\0" for name in unknown)
    return message(b"v", struct.pack("!II", newest, len(unknown)) + names)


def error_response(sqlstate: str, text: str, *, severity: str = "ERROR", detail: str = "", hint: str = "") -> bytes:
    """ErrorResponse with the fields that every driver reads (PostgreSQL docs, 55.8)."""
    return message(b"E", _fields(sqlstate, text, severity, detail, hint))


def notice_response(sqlstate: str, text: str, *, severity: str = "WARNING", hint: str = "") -> bytes:
    """NoticeResponse."""
    return message(b"N", _fields(sqlstate, text, severity, "", hint))


def error_of(error: PoolguardError, *, severity: str = "ERROR") -> bytes:
    """The ErrorResponse that tells a client of *error*."""
    return error_response(error.sqlstate, error.message, severity=severity, detail=error.detail, hint=error.hint)


def _fields(sqlstate: str, text: str, severity: str, detail: str, hint: str) -> bytes:
    fields = [("S", severity), ("V", severity), ("C", sqlstate), ("M", text), ("D", detail), ("H", hint)]
    return b"".join(f"{key}{value}\0".encode("utf-8", "surrogateescape") for key, value in fields if value) + b"\0"


ABORTED: Final = error_response(
    "25P02", "current transaction is aborted, commands ignored until end of transaction block"
)
"""What PostgreSQL says in a failed transaction to anything but its end."""


# What a client says.

SYNC: Final = message(b"S")
TERMINATE: Final = message(b"X")
EXTENDED_ROLLBACK: Final = (
    message(b"P", b"\0ROLLBACK\0\0\0") + message(b"B", b"\0\0" + bytes(6)) + message(b"E", b"\0" + bytes(4))
)
"""ROLLBACK as Parse, Bind and Execute: ends also the implicit transaction of a batch that has no Sync yet."""


def query(sql: str | bytes) -> bytes:
    """A simple Query."""
    return message(b"Q", (sql.encode() if isinstance(sql, str) else sql) + b"\0")


def password_message(password: bytes) -> bytes:
    """PasswordMessage: a password, or its md5 form."""
    return message(b"p", password + b"\0")


def sasl_initial_response(mechanism: str, data: bytes) -> bytes:
    """SASLInitialResponse."""
    return message(b"p", mechanism.encode() + b"\0" + _LENGTH.pack(len(data)) + data)


def sasl_response(data: bytes) -> bytes:
    """SASLResponse."""
    return message(b"p", data)


def copy_fail(reason: str) -> bytes:
    """CopyFail."""
    return message(b"f", reason.encode() + b"\0")


# Reading what PostgreSQL says.


def error_fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse body, by their one-letter keys."""
    return {chr(part[0]): part[1:].decode("utf-8", "replace") for part in body.rstrip(b"\0").split(b"\0") if part}


def parameter_of(body: bytes) -> tuple[str, str]:
    """Name and value of a ParameterStatus body. Raises ServerViolation if it isn't two strings."""
    parts = body.split(b"\0")
    if len(parts) != 3 or parts[2]:
        raise ServerViolation("ParameterStatus is not two zero-terminated strings")
    return parts[0].decode("utf-8", "replace"), parts[1].decode("utf-8", "surrogateescape")
