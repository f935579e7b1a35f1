"""Requests to one poolguard over a kept connection, and its refusals as the errors that they are."""

import http.client
import json
import socket
import threading
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from poolguard.core.errors import (
    InvalidLease,
    LeaseHeld,
    LeaseHeldOff,
    LeaseLost,
    LeaseNotFound,
    LeaseUnavailable,
    LeaseUnknown,
    NotAllowed,
    NotLeader,
    PoolguardError,
)

DEFAULT_URL: Final = "http://127.0.0.1:6433"
DEFAULT_PORT: Final = 6433
_WHERE: Final = "Is poolguard running, and is that its control listener? The commands ask --url, else $POOLGUARD_URL."
_MOST_BODY_BYTES: Final = 4 << 20
_JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}


class Answer:
    """A status below 400, and what came with it."""

    __slots__ = ("body", "index", "status")

    def __init__(self, status: int, body: Mapping[str, Any], index: str | None) -> None:
        self.status = status
        self.body = body
        self.index = index
        """Which state of things it shows (`X-Poolguard-Index`), to wait for the next one."""


class Http:
    """One connection at most, opened when it is needed. Safe to use from several threads; one request at a time."""

    def __init__(self, url: str, *, admin_token: str = "") -> None:
        self.host, self.port = _address(url)
        self._admin_token: Final = admin_token
        self._lock: Final = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None, *, timeout: float) -> Answer:
        """Send one request; *timeout* in seconds holds for each step of it.

        Raises LeaseUnavailable if nothing was sent, LeaseUnknown if no answer came, else what poolguard refused with.
        """
        with self._lock:
            reused = self._connection is not None
            try:
                status, text, index = self._exchange(method, path, body, timeout)
            except _Broken:
                # An idle connection may have been closed by poolguard in this very moment. Every request of this API
                # may be repeated; a fresh connection that fails too is the answer.
                if not reused:
                    raise
                status, text, index = self._exchange(method, path, body, timeout)
        return _read(status, text, index)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        with self._lock:
            self._drop()

    def _exchange(
        self, method: str, path: str, body: Mapping[str, object] | None, timeout: float
    ) -> tuple[int, bytes, str | None]:
        connection = self._connected(timeout)
        content = None if body is None else json.dumps(body).encode()
        headers = dict(_JSON)
        if self._admin_token:
            headers["Authorization"] = f"Bearer {self._admin_token}"
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            text = response.read(_MOST_BODY_BYTES)
        except TimeoutError:
            self._drop()
            raise LeaseUnknown(f"poolguard did not answer within {timeout:.1f} s") from None
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise _Broken("the connection to poolguard broke", detail=type(error).__name__) from None
        except BaseException:
            self._drop()  # half of an answer may still be in it
            raise
        if response.will_close:
            self._drop()
        return response.status, text, response.getheader("X-Poolguard-Index")

    def _connected(self, timeout: float) -> http.client.HTTPConnection:
        if self._connection is None:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
            try:
                connection.connect()
            except OSError as error:
                raise LeaseUnavailable(
                    f"no poolguard at {self.host}:{self.port}",
                    detail=str(error) or type(error).__name__,
                    hint=_WHERE,
                ) from None
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection = connection
        self._connection.sock.settimeout(timeout)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Broken(LeaseUnknown):
    """The connection ended before the answer did."""


def path_of(*segments: str) -> str:
    """A path; a lease's name may hold slashes."""
    return "/" + "/".join(quote(segment, safe="/:") for segment in segments)


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        port = parts.port
    except ValueError:
        port, parts = None, urlsplit("")
    if parts.hostname is None or parts.scheme not in ("", "http") or parts.path not in ("", "/"):
        raise InvalidLease("the address of poolguard can't be read", hint=f"Write for example {DEFAULT_URL}.")
    return parts.hostname, port or DEFAULT_PORT


def _read(status: int, text: bytes, index: str | None) -> Answer:
    try:
        body = json.loads(text) if text.strip() else {}
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    if status < 400:
        return Answer(status, body, index)
    raise _refusal(status, body)


def _refusal(status: int, body: Mapping[str, Any]) -> PoolguardError:
    message = str(body.get("message") or f"poolguard answered {status}")
    detail, hint = str(body.get("detail") or ""), str(body.get("hint") or "")
    code = body.get("error")
    if status == 409:
        kind = {LeaseLost.code: LeaseLost, LeaseHeldOff.code: LeaseHeldOff}.get(str(code), LeaseHeld)
        holder, valid_for_ms = body.get("holderIdentity"), body.get("validForMs")
        return kind(
            message,
            holder=holder if isinstance(holder, str) else None,
            valid_for_ms=valid_for_ms if isinstance(valid_for_ms, int) else 0,
            hint=hint,
        )
    for error in (LeaseNotFound, LeaseUnknown, NotLeader, InvalidLease):
        if code == error.code:
            return error(message, detail=detail, hint=hint)
    if status in (401, 403):
        return NotAllowed(message, detail=detail, hint=hint)
    if status == 503:
        return LeaseUnavailable(message, detail=detail, hint=hint)
    if status >= 500:
        return LeaseUnknown(message, detail=detail, hint=hint)
    return InvalidLease(message, detail=detail, hint=hint)
