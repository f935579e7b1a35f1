"""What clients say in the extended protocol, in few letters."""

from poolguard.wire.messages import SYNC, message, query

FLUSH = message(b"H")
TERMINATE = message(b"X")
COPY_DONE = message(b"c")


def parse(sql: str, name: str = "") -> bytes:
    """Parse without parameter types."""
    return message(b"P", name.encode() + b"\0" + sql.encode() + b"\0\0\0")


def bind(name: str = "", portal: str = "") -> bytes:
    """Bind without parameters."""
    return message(b"B", portal.encode() + b"\0" + name.encode() + b"\0" + bytes(6))


def describe(kind: str = "P", name: str = "") -> bytes:
    """Describe a portal (`P`) or statement (`S`)."""
    return message(b"D", kind.encode() + name.encode() + b"\0")


def execute(portal: str = "", rows: int = 0) -> bytes:
    """Execute."""
    return message(b"E", portal.encode() + b"\0" + rows.to_bytes(4, "big"))


def close(kind: str, name: str = "") -> bytes:
    """Close a portal or statement."""
    return message(b"C", kind.encode() + name.encode() + b"\0")


def copy_data(data: bytes) -> bytes:
    """CopyData."""
    return message(b"d", data)


def batch(sql: str, *, described: bool = True) -> bytes:
    """The most common one: Parse, Bind, Describe, Execute, Sync."""
    return parse(sql) + bind() + (describe() if described else b"") + execute() + SYNC


def named(name: str) -> bytes:
    """Bind, Execute, Sync of a prepared statement."""
    return bind(name) + execute() + SYNC


__all__ = [
    "COPY_DONE", "FLUSH", "SYNC", "TERMINATE",
    "batch", "bind", "close", "copy_data", "describe", "execute", "message", "named", "parse", "query",
]  # fmt: skip
