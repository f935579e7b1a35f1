"""What a connected client that does nothing costs a pooler in memory."""

import socket
import struct
from contextlib import ExitStack
from dataclasses import dataclass

from bench.contenders import Contender
from bench.processes import BenchError

IDLE_CLIENTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Resident bytes of the pooler's process."""

    idle_bytes: int
    """Freshly started, nobody connected."""
    loaded_bytes: int
    """After all workloads."""
    per_idle_client_bytes: int


def startup_packet(user: str, database: str) -> bytes:
    """Encode a StartupMessage of protocol 3.0 (PostgreSQL docs, 55.7)."""
    body = b"".join(f"{k}\0{v}\0".encode() for k, v in (("user", user), ("database", database))) + b"\0"
    return struct.pack("!ii", len(body) + 8, 196608) + body


def per_idle_client(contender: Contender, clients: int = IDLE_CLIENTS) -> int:
    """Log *clients* in; divide the growth of the process (0 if it had memory to spare) by their number."""
    hello = startup_packet(contender.user, contender.database)
    before = contender.rss_bytes()
    with ExitStack() as connected:
        for _ in range(clients):
            client = connected.enter_context(socket.create_connection((contender.host, contender.port), timeout=10))
            client.sendall(hello)
            _wait_for_ready(client, contender)
        return max(0, contender.rss_bytes() - before) // clients


def _wait_for_ready(client: socket.socket, contender: Contender) -> None:
    """Read until ReadyForQuery, the last message of a login: six bytes, idle."""
    received = b""
    while not received.endswith(b"Z\0\0\0\x05I"):
        chunk = client.recv(4096)
        if not chunk:
            raise BenchError(f"{contender.name} refused an idle client: {received[:200]!r}")
        received += chunk
