"""TLS over a transport that is already there, both ends in memory."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from poolguard.aio.tls import READ_BYTES, RECORD_BYTES, TlsTransport
from tests.support.certificates import Authority
from tests.support.relaying import FakeTransport


class Inner(asyncio.Protocol):
    """Whoever the connection is for."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.paused: list[bool] = []
        self.lost: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        self.got.append(data)

    def pause_writing(self) -> None:
        self.paused.append(True)

    def resume_writing(self) -> None:
        self.paused.append(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class Pair:
    """A server's side, and a client that works on memory."""

    def __init__(self, folder: Path, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        cert, key = Authority().issue("server").write(folder, "server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        context.num_tickets = 0
        mine = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        mine.check_hostname, mine.verify_mode, mine.maximum_version = False, ssl.CERT_NONE, version
        self.raw = FakeTransport()
        self.inner = Inner()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = mine.wrap_bio(self.incoming, self.outgoing)
        self.tls = TlsTransport(self.raw, self.inner, context)
        self._read = 0

    def step(self, act: Callable[[], object]) -> bool:
        """Let the client act on all that it was sent; False if it wants more."""
        self.incoming.write(bytes(self.raw.written[self._read :]))
        self._read = len(self.raw.written)
        try:
            act()
        except ssl.SSLWantReadError:
            return False
        return True

    async def shake(self, *, cut: int = 0) -> None:
        """Both shake hands; *cut*: the client's bytes come in pieces of so many."""
        shaking = asyncio.ensure_future(self.tls.handshake())
        await asyncio.sleep(0)
        done = False
        while not (done and shaking.done()):
            done = self.step(self.client.do_handshake) or done
            self.flow(cut)
            await asyncio.sleep(0)
        await shaking

    def flow(self, cut: int = 0) -> None:
        """The client's bytes come in."""
        data = self.outgoing.read()
        for at in range(0, len(data), cut or len(data) or 1):
            self.tls.data_received(data[at : at + (cut or len(data))])

    def heard(self) -> bytes:
        """All that the client can read now."""
        parts: list[bytes] = []
        while self.step(lambda: parts.append(self.client.read(1 << 20))) and parts[-1]:
            pass
        return b"".join(parts)


@pytest.mark.parametrize("cut", [0, 1, 7])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_what_is_said_comes_through_however_it_is_cut(tmp_path: Path, cut: int, version: ssl.TLSVersion) -> None:
    """L1."""
    pair = Pair(tmp_path, version=version)
    await pair.shake(cut=cut)
    pair.client.write(b"ask")
    pair.client.write(b" me")
    pair.flow(cut)
    assert b"".join(pair.inner.got) == b"ask me"
    pair.tls.write(b"answer")
    assert pair.heard() == b"answer"
    assert b"answer" not in pair.raw.written


async def test_several_records_in_one_read_are_one_chunk(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    await pair.shake()
    for _ in range(5):
        pair.client.write(b"x" * 10_000)
    pair.flow()
    assert [len(chunk) for chunk in pair.inner.got] == [50_000]


async def test_what_has_been_read_already_counts(tmp_path: Path) -> None:
    """S4: the first bytes tell that it is TLS, and are part of it."""
    pair = Pair(tmp_path)
    pair.step(pair.client.do_handshake)
    shaking = asyncio.ensure_future(pair.tls.handshake(pair.outgoing.read()))
    await asyncio.sleep(0)
    assert pair.step(pair.client.do_handshake)
    pair.client.write(b"with the last of the handshake")
    pair.flow()
    await shaking
    assert pair.inner.got == [b"with the last of the handshake"]


async def test_records_are_no_longer_than_postgresqls(tmp_path: Path) -> None:
    """L6: a client that reads what its socket has, and polls, must not find half a record in it."""
    pair = Pair(tmp_path)
    await pair.shake()
    del pair.raw.written[:]
    pair._read = 0
    said = bytes(range(256)) * 400
    pair.tls.write(said)
    at, records = 0, []
    while at < len(pair.raw.written):
        records.append(int.from_bytes(pair.raw.written[at + 3 : at + 5], "big"))
        at += 5 + records[-1]
    assert len(records) == -(-len(said) // RECORD_BYTES)
    assert max(records) <= RECORD_BYTES + 256, "tag, padding and type of the record"
    assert pair.heard() == said


async def test_nothing_large_is_kept(tmp_path: Path) -> None:
    """L9: OpenSSL's buffers don't shrink, so none may ever grow."""
    pair = Pair(tmp_path)
    await pair.shake()
    fed: list[int] = []
    incoming = pair.tls._incoming

    class Watched:
        """Tells how much is put into the buffer at once."""

        def write(self, data: bytes) -> int:
            fed.append(len(data))
            return incoming.write(data)

        @property
        def pending(self) -> int:
            return incoming.pending

    object.__setattr__(pair.tls, "_incoming", Watched())
    pair.client.write(b"x" * 1_000_000)
    pair.flow()
    assert b"".join(pair.inner.got) == b"x" * 1_000_000
    assert max(fed) <= READ_BYTES
    pair.tls.write(b"y" * 1_000_000)
    assert pair.heard() == b"y" * 1_000_000


async def test_a_client_that_does_not_read_pauses_whoever_writes(tmp_path: Path) -> None:
    """L5."""
    pair = Pair(tmp_path)
    await pair.shake()
    pair.raw.stuck = True
    pair.tls.write(b"x" * 100)
    assert pair.inner.paused == [True]
    assert pair.tls.get_write_buffer_size() > 100
    pair.tls.pause_reading()
    assert not pair.tls.is_reading()
    pair.raw.flow()
    pair.tls.resume_reading()
    assert pair.inner.paused == [True, False]
    assert pair.tls.is_reading()
    assert pair.heard() == b"x" * 100


async def test_a_goodbye_closes_and_what_came_before_it_is_heard(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    await pair.shake()
    pair.client.write(b"bye")
    pair.step(pair.client.unwrap)
    pair.flow()
    assert pair.inner.got == [b"bye"]
    assert pair.tls.is_closing()
    await asyncio.sleep(0)
    assert pair.inner.lost == [None]


async def test_closing_says_goodbye_once_and_nothing_after_it(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    await pair.shake()
    pair.tls.write(b"last words")
    pair.tls.close()
    size = len(pair.raw.written)
    pair.tls.close()
    pair.tls.write(b"more")
    assert len(pair.raw.written) == size
    assert pair.heard() == b"last words"


async def test_bytes_that_are_no_tls_end_it_and_nothing_in_the_clear_follows(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    await pair.shake()
    pair.tls.data_received(b"SELECT 1" * 20)
    assert pair.inner.got == []
    assert pair.tls.is_closing()
    pair.tls.write(b"secret")
    assert b"secret" not in pair.raw.written


async def test_a_broken_handshake_tells_the_client_and_raises(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    with pytest.raises(ssl.SSLError):
        await pair.tls.handshake(b"\x16\x03\x01\x00\x05nonsense")
    assert pair.raw.written[:1] == b"\x15", "an alert"


async def test_a_client_that_goes_in_the_handshake_raises(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    shaking = asyncio.ensure_future(pair.tls.handshake(b"\x16\x03"))
    await asyncio.sleep(0)
    pair.tls.connection_lost(None)
    with pytest.raises(ConnectionResetError):
        await shaking
    assert pair.inner.lost == [None]


async def test_it_can_be_handed_to_another_protocol(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    await pair.shake()
    other = Inner()
    pair.tls.set_protocol(other)
    assert pair.tls.get_protocol() is other
    pair.client.write(b"x")
    pair.flow()
    assert (pair.inner.got, other.got) == ([], [b"x"])
    assert pair.tls.get_extra_info("ssl_object") is pair.tls.session
    assert pair.tls.get_extra_info("peername", "nobody") == "nobody"
