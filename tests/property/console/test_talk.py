"""Whatever a client says to the console: an answer or an error, never a failure of ours."""

import asyncio
import contextlib

from hypothesis import given
from hypothesis import strategies as st

from poolguard.console.answers import Answers
from poolguard.console.statements import NotUnderstood, read
from poolguard.console.talk import Talk
from poolguard.wire.framing import FrameSplitter
from tests.support import speech
from tests.support.console import Behind, asked
from tests.support.relaying import tags
from tests.support.snapshots import holder

NAMES = st.sampled_from(["", "a", "b"])
TEXTS = st.sampled_from(
    ["", "SHOW TRANSACTIONS", "show help;", "BEGIN", "COMMIT", "DISCARD ALL", "DEALLOCATE a", "KILL '1-1' CANCEL", "KILL '9-9' CANCEL", "SELECT 1", "BEGIN; SHOW VERSION"]
)  # fmt: skip
MESSAGES = st.one_of(
    TEXTS.map(speech.query),
    st.builds(speech.parse, TEXTS, NAMES),
    st.builds(speech.bind, NAMES, NAMES),
    st.builds(speech.describe, st.sampled_from("PS"), NAMES),
    st.builds(speech.execute, NAMES, st.integers(0, 3)),
    st.builds(speech.close, st.sampled_from("PS"), NAMES),
    st.just(speech.SYNC),
    st.just(speech.FLUSH),
    st.builds(
        speech.message, st.sampled_from([b"Q", b"P", b"B", b"D", b"E", b"C", b"F", b"d"]), st.binary(max_size=12)
    ),
)


@given(st.text(alphabet="sShowKILL'\"-*/;12 \n$pols\0", max_size=60) | st.text(max_size=60))
def test_any_text_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(NotUnderstood):
        read(text)


@given(st.lists(MESSAGES, max_size=20))
def test_each_query_and_sync_gets_one_ready_and_an_error_skips_to_sync(said: list[bytes]) -> None:
    asyncio.run(_hold(said))


async def _hold(said: list[bytes]) -> None:
    behind, heard, skipping = Behind(), bytearray(), False
    holder(behind.ledger)

    async def send(data: bytes) -> None:
        heard.extend(data)

    talk = Talk(Answers(behind.sources, asked(), "unix").perform, send)
    for one in said:
        heard.clear()
        [(tag, body)] = FrameSplitter(max_body=10_000).feed(one)
        assert await talk.hear(tag, body)
        told = tags(bytes(heard)).replace("Zi", "Z").replace("Zt", "Z")
        if tag == b"S"[0]:
            assert told == "Z"
            skipping = False
        elif skipping:
            assert told == ""
        elif tag in b"QF":
            assert (told[-1], told.count("Z")) == ("Z", 1)
        else:
            assert "Z" not in told
            skipping = "E" in told
            assert told.count("E") == skipping == told.endswith("E")
