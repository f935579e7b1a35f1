"""TLS over a transport that is already open, itself a transport: for the side of a server.

`loop.start_tls` can't be given bytes that have been read already, and a client that begins with TLS unasked is known
by its first byte; it also keeps a quarter of a megabyte for each connection. Here OpenSSL works on memory alone, so
that both are simple, both event loops behave alike, and whoever asks can see what stands where.
"""

import asyncio
import contextlib
import ssl
from typing import Any, Final, cast

RECORD_BYTES: Final = 8192
"""Of plain text in one TLS record, as PostgreSQL sends it. Clients that poll their socket read less than a longer
record holds, and then wait for a socket that has nothing more to tell."""

READ_BYTES: Final = 16 * 1024
"""Given to OpenSSL at once, and asked of it: the longest record. Its buffers never shrink: what once went through
one whole, a client would hold for as long as it is connected."""


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """The protocol of *raw*, and the transport of *inner*, which hears nothing before the handshake is done.

    Whatever is in force for *raw* (buffer limits, peer, socket) is in force here. Nothing is kept back: bytes that
    were decrypted go to *inner* at once, bytes that were encrypted to *raw*.
    """

    __slots__ = ("_incoming", "_inner", "_outgoing", "_raw", "_shaken", "_tls")

    def __init__(self, raw: asyncio.Transport, inner: asyncio.Protocol, context: ssl.SSLContext) -> None:
        super().__init__()
        self._raw: Final = raw
        self._inner = inner
        self._incoming: Final = ssl.MemoryBIO()
        self._outgoing: Final = ssl.MemoryBIO()
        self._tls: Final = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        raw.set_protocol(self)

    async def handshake(self, early: bytes = b"") -> None:
        """Shake hands; *early* is what has been read of the client's part. Until then nothing may be written.

        Raises ssl.SSLError (the client has been sent an alert), or ConnectionResetError if the client goes.
        """
        assert self._shaken is not None, "one handshake for one connection"
        shaken = self._shaken
        if early:
            self.data_received(early)
        await shaken

    @property
    def session(self) -> ssl.SSLObject:
        """What was agreed: certificate, protocol, version."""
        return self._tls

    # What the raw transport calls.

    def data_received(self, data: bytes) -> None:
        """Decrypt, and hand on."""
        parts: list[bytes] = []
        if len(data) <= READ_BYTES:
            ended = self._decrypt(data, parts)
        else:
            view = memoryview(data)
            ended = any(self._decrypt(view[at : at + READ_BYTES], parts) for at in range(0, len(view), READ_BYTES))
        self._flush()  # an answer to a KeyUpdate, an alert
        if parts:
            self._inner.data_received(parts[0] if len(parts) == 1 else b"".join(parts))
        if ended:
            self.close()

    def _decrypt(self, data: bytes | memoryview, parts: list[bytes]) -> bool:
        """Add what *data* says to *parts*; True if it ends the connection."""
        self._incoming.write(data)
        if self._shaken is not None and not self._shake(self._shaken):
            return False
        try:
            while True:
                part = self._tls.read(READ_BYTES)
                if not part:
                    return True
                parts.append(part)
                if not (self._incoming.pending or self._tls.pending()):
                    return False  # a further read would only raise
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            return True

    def _shake(self, shaken: "asyncio.Future[None]") -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._flush()
            if not shaken.done():
                shaken.set_exception(error)
            return False
        self._flush()
        self._shaken = None
        if not shaken.done():
            shaken.set_result(None)
        return bool(self._incoming.pending)

    def eof_received(self) -> bool:
        """Half of a TLS connection can't be closed."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        if self._shaken is not None and not self._shaken.done():
            self._shaken.set_exception(ConnectionResetError("the client went in the middle of its TLS handshake"))
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._inner.resume_writing()

    # What the inner protocol calls.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if self._raw.is_closing():
            return
        try:
            if len(data) <= RECORD_BYTES:
                self._tls.write(data)
                sealed = self._outgoing.read()
            else:
                view = memoryview(data)
                sealed = b"".join(self._seal(view[at : at + RECORD_BYTES]) for at in range(0, len(view), RECORD_BYTES))
        except ssl.SSLError:
            # What was agreed is broken (the client has ended it): not one byte may follow in the clear.
            self._raw.abort()
            return
        self._raw.write(sealed)

    def _seal(self, part: memoryview) -> bytes:
        """One record."""
        self._tls.write(part)
        return self._outgoing.read()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())

    def close(self) -> None:
        """Say goodbye, and close when all has been sent."""
        if not self._raw.is_closing():
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()  # it wants the client's goodbye, too, which nobody waits for
            self._flush()
            self._raw.close()

    def abort(self) -> None:
        """Close at once."""
        self._raw.abort()

    def is_closing(self) -> bool:
        """Whether it has ended or is about to."""
        return self._raw.is_closing()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another."""
        self._inner = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Whose connection it is."""
        return self._inner

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object` is ours; the rest tells the raw transport."""
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Stop."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._raw.resume_reading()

    def is_reading(self) -> bool:
        """Whether bytes are taken."""
        return self._raw.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Of encrypted bytes."""
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Encrypted bytes that have not gone out."""
        return self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """See asyncio.WriteTransport."""
        return self._raw.get_write_buffer_limits()

    def can_write_eof(self) -> bool:
        """Never."""
        return False
