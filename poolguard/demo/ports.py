"""Free ports on loopback that no outgoing connection takes while their server restarts."""

import random
import socket
from collections.abc import Callable
from typing import Final

from poolguard.core.errors import UpstreamUnavailable

CANDIDATES: Final = range(15_000, 32_000)
"""Below the ports that Linux (from 32768) and macOS (from 49152) give to outgoing connections."""

_TRIES: Final = 200
_CHOOSE: Final = random.SystemRandom().choice


def free_port(host: str = "127.0.0.1", *, choose: Callable[[range], int] = _CHOOSE) -> int:
    """Return a TCP port on *host* that can be bound now. Nothing reserves it: bind soon, retry if taken."""
    for _ in range(_TRIES):
        port = choose(CANDIDATES)
        if can_bind(host, port):
            return port
    raise UpstreamUnavailable(f"no free port on {host} in {_TRIES} tries from {CANDIDATES}")


def can_bind(host: str, port: int) -> bool:
    """Whether *port* could be listened on now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As PostgreSQL does it: a port whose last connections are in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
