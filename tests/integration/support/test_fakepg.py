"""The fake PostgreSQL answers as the real one does."""

import asyncio
from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolguard.wire import messages, startup
from poolguard.wire.framing import FrameSplitter
from tests.support.cluster import Database
from tests.support.fakepg import FakePostgres
from tests.support.speech import (
    COPY_DONE,
    FLUSH,
    SYNC,
    batch,
    bind,
    close,
    copy_data,
    describe,
    execute,
    named,
    parse,
    query,
)

SQL = (
    "SELECT 1", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT s", "ROLLBACK TO s", "", "SHOW TimeZone",
    "SET TimeZone = 'Asia/Tokyo'", "RESET TimeZone", "SYNTAX", "START TRANSACTION", "END", "COPY t FROM STDIN",
    "LISTEN a",
)  # fmt: skip
SIMPLE_SQL = (
    *SQL, "SELECT 1;SELECT 1", "BEGIN;SELECT 1", "SELECT 1;COMMIT", "DEALLOCATE s1", "DEALLOCATE ALL", "DISCARD ALL",
    "RESET ALL",
)  # fmt: skip
NAMES = ("", "s1")

extended = st.one_of(
    st.builds(parse, st.sampled_from(SQL), st.sampled_from(NAMES)),
    st.builds(bind, st.sampled_from(NAMES)),
    st.builds(lambda name: bind(name) + describe() + execute() + execute(), st.sampled_from(NAMES)),
    st.builds(describe, st.just("S"), st.sampled_from(NAMES)),
    st.builds(close, st.sampled_from("SP"), st.sampled_from(NAMES)),
    st.just(FLUSH),
)
unit = st.one_of(
    st.sampled_from(SIMPLE_SQL).map(query),
    st.sampled_from(SQL).map(batch),
    st.sampled_from(NAMES).map(named),
    st.lists(extended, max_size=6).map(lambda said: b"".join(said) + SYNC),
)
script = st.lists(unit, min_size=1, max_size=10)


GONE = ["the connection has ended"]
"""In COPY, after a message that does not belong there; what was said last may be lost with it."""


def data_for(asked: bytes) -> bytes:
    """The data of a COPY, and the Sync that is needed behind one of the extended protocol."""
    return copy_data(b"1\n") + COPY_DONE + (b"" if asked[:1] == b"Q" else SYNC)


def told(frames: list[tuple[int, bytes]]) -> list[str]:
    """What a client goes by: types, statuses, tags of commands, codes of errors, names of parameters."""
    found = []
    for tag, body in frames:
        match chr(tag):
            case "Z" | "C":
                found.append(f"{chr(tag)} {body!r}")
            case "E" | "N":
                found.append(f"{chr(tag)} {messages.error_fields(body)['C']}")
            case "S":
                found.append(f"S {messages.parameter_of(body)[0]}")
            case kind:
                found.append(kind)
    return found


def fake(said: list[bytes]) -> list[list[str]]:
    postgres = FakePostgres()
    answers: list[list[str]] = []
    for data in said:
        frames = FrameSplitter(max_body=2**20).feed(postgres.feed(data))
        while frames[-1][0] == b"G"[0]:
            frames += FrameSplitter(max_body=2**20).feed(postgres.feed(data_for(data)))
        if postgres.closed:
            return [*answers, GONE]
        answers.append(told(frames))
    return answers


async def real(database: Database, said: list[bytes]) -> list[list[str]]:
    reader, writer = await asyncio.open_connection(database.host, database.port)
    frames: list[tuple[int, bytes]] = []
    splitter = FrameSplitter(max_body=2**20)

    async def hear() -> list[tuple[int, bytes]]:
        """Everything up to ReadyForQuery, CopyInResponse or the end."""
        frames.clear()
        while not frames or frames[-1][0] not in b"ZG":
            data = await reader.read(65536)
            if not data:
                raise ConnectionResetError
            frames.extend(splitter.feed(data))
        return list(frames)

    writer.write(startup.startup_packet({"user": database.user, "database": database.name}))
    await hear()
    answers = []
    try:
        for data in said:
            writer.write(data)
            heard = await hear()
            while heard[-1][0] == b"G"[0]:
                writer.write(data_for(data))
                heard += await hear()
            answers.append(told(heard))
    except ConnectionError:
        answers.append(GONE)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return answers


def test_any_script_is_answered_alike(database: Database) -> None:
    """Q1 to Q5, X1, X11, P2, P7, P10, T1, T8: PostgreSQL is the oracle of the fake, the fake that of the relay."""
    with database.connect() as connection:
        connection.execute("CREATE TABLE t (a int)")

    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
    @given(said=script)
    def alike(said: list[bytes]) -> None:
        assert fake(said) == asyncio.run(real(database, said))

    alike()
