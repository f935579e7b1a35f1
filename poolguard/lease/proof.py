"""Ways in which an application proves that it lives without saying so: its process runs, or it answers HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from poolguard.core.errors import InvalidLease
from poolguard.core.loopback import is_loopback

Proof = Callable[[], Awaitable[bool]]
"""Says whether the application lives now. It takes CHECK_SECONDS at most, and raises nothing."""

CHECK_SECONDS: Final = 1.0
_HEAD_BYTES: Final = 64
_URL_LENGTH: Final = 512
_PROC: Final = Path("/proc")


def of_process(pid: object, *, proc: Path = _PROC) -> Proof:
    """Process *pid* runs: not stopped, not a zombie, and still the same one. Raises InvalidLease if it does not now."""
    if isinstance(pid, bool) or not isinstance(pid, int) or not 1 < pid < 2**31:
        raise InvalidLease("checkPid must be a process id")
    begun = _start_of(proc / str(pid) / "stat")
    if begun is None:
        raise InvalidLease(
            f"there is no running process {pid} here",
            hint="In Kubernetes, poolguard sees processes of other containers only with shareProcessNamespace: true.",
        )

    async def alive() -> bool:
        # The start time tells a process from a later one with the same id.
        return _start_of(proc / str(pid) / "stat") == begun

    return alive


def _start_of(stat: Path) -> str | None:
    try:
        # proc(5): the name, in parentheses, may hold anything; state is the first field after it, starttime the 20th.
        fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        return None if fields[0] in {"T", "t", "Z", "X"} else fields[19]
    except (OSError, IndexError):
        return None


def of_url(url: object) -> Proof:
    """GET *url* answers 2xx. Only plain HTTP to this machine: nobody shall make poolguard send requests elsewhere.

    Raises InvalidLease.
    """
    text = url if isinstance(url, str) and len(url) <= _URL_LENGTH and url.isprintable() and " " not in url else ""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        raise InvalidLease("checkUrl has no valid port or address") from None
    if parts.scheme != "http" or not is_loopback(host) or parts.username is not None or not text.isascii():
        raise InvalidLease(
            "checkUrl must be http:// to localhost, 127.0.0.1 or [::1]", hint="Such as http://127.0.0.1:8080/healthz."
        )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    request = f"GET {path} HTTP/1.0\r\nHost: {parts.netloc}\r\nUser-Agent: poolguard\r\n\r\n".encode()

    async def alive() -> bool:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return await _answers(host, port, request)
        except (OSError, TimeoutError):
            return False

    return alive


async def _answers(host: str, port: int, request: bytes) -> bool:
    reader, writer = await asyncio.open_connection(host, port, limit=_HEAD_BYTES)
    try:
        writer.write(request)
        head = await reader.read(_HEAD_BYTES)
        status = head.split(b" ", 2)[1:2]
        return head.startswith(b"HTTP/1.") and bool(status) and status[0].startswith(b"2")
    finally:
        writer.close()
