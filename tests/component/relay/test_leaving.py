"""Clients and servers that go, at every point: one error at most, and books that balance."""

import pytest

from poolguard.pool.snapshot import CloseReason
from poolguard.wire import messages
from poolguard.wire.framing import FrameSplitter
from tests.support.fakepg import Failure, FakePostgres
from tests.support.relaying import House, errors, sqlstates, tags
from tests.support.speech import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    batch,
    bind,
    copy_data,
    describe,
    execute,
    named,
    parse,
    query,
)

TALKS = {
    "transaction": [query("BEGIN"), query("INSERT a"), query("SELECT 3"), query("COMMIT")],
    "extended": [batch("BEGIN"), parse("INSERT a", "s") + named("s"), batch("FAIL"), batch("ROLLBACK")],
    "flushed": [parse("INSERT a") + bind() + describe() + execute() + FLUSH, SYNC],
    "copy": [query("COPY t FROM STDIN"), copy_data(b"1\n"), copy_data(b"2\n") + COPY_DONE],
    "copy by execute": [batch("COPY t FROM STDIN"), copy_data(b"1\n") + COPY_DONE + SYNC],
    "pinned": [query("SET work_mem = 1"), query("LISTEN a"), query("BEGIN"), query("INSERT a")],
    "skipping": [parse("FAIL") + bind() + execute() + FLUSH, parse("SELECT 1") + FLUSH, SYNC],
}  # fmt: skip


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS.keys())
async def test_a_client_that_goes_at_any_byte_leaves_a_clean_server(talk: list[bytes]) -> None:
    """X18, X19, T10, L3, B1, B6: the half of a message is never forwarded; the next guest finds nothing of the last."""
    for cut in range(1, sum(map(len, talk))):
        house = House()
        client, left = house.client(), cut
        for data in talk:
            await client.ask(data[:left])
            left = max(0, left - len(data))
        client.go()
        await house.rest()
        house.check_at_rest()
        after = house.client()
        assert tags(await after.ask(query("SELECT 1") + query("SHOW work_mem"))) == "TDCZiTDCZi"
        assert len(house.upstreams) == 1, "the server was thrown away"
        assert not house.postgres.listens
        assert house.postgres.prepared.keys() <= {""} | {n for n in house.postgres.prepared if n.startswith("__pool")}
        await house.close()


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS.keys())
async def test_a_server_that_goes_at_any_byte_of_its_answer_gives_one_error_at_most(talk: list[bytes]) -> None:
    """B6, L3: the session ends, with 08006 unless half a row was out; the next client gets another server."""
    whole = FakePostgres()
    answers = [whole.feed(data) for data in talk]
    for cut in range(sum(map(len, answers))):
        house = House()
        client = house.client()
        await client.ask(query("SET work_mem = 1"))
        before, left = len(client.heard), cut
        for data, answer in zip(talk, answers, strict=True):
            upstream = house.upstreams[0]
            upstream.silent = True
            client.say(data)
            upstream.discard()
            if answer[:left]:
                upstream.transport.protocol.data_received(answer[:left])
            if left < len(answer):
                upstream.lose()
                break
            left -= len(answer)
        await house.rest()
        assert client.transport.closing
        frames = FrameSplitter(max_body=2**20)
        said = frames.feed(client.heard[before:])
        lost = sum(b"C08006\0" in body for _, body in said)
        assert lost == (0 if frames.rest() else 1), "one error, and none into half a row"
        house.check_at_rest()
        assert tags(await house.client().ask(query("SELECT 1"))) == "TDCZi"
        await house.close()


async def test_a_fatal_error_is_passed_on_once_and_nothing_after_it(house: House) -> None:
    """X20."""
    client = house.client()
    await client.ask(query("BEGIN;SELECT 1"))
    (fatal,) = errors(await client.ask(query("DIE")))
    assert (fatal["S"], fatal["C"]) == ("FATAL", "57P01")
    assert client.transport.closing
    house.check_at_rest()


async def test_last_words_to_an_idle_client_in_a_transaction_are_its_own(house: House) -> None:
    """B6: the client hears PostgreSQL's reason, not ours."""
    client = house.client()
    await client.ask(query("BEGIN;SELECT 1"))
    upstream = house.upstreams[0]
    upstream.answer(upstream.postgres.die("25P03"))
    before = len(client.heard)
    await house.rest()
    assert sqlstates(client.heard[before:]) == ["25P03"]
    house.check_at_rest()


async def test_a_server_that_says_farewell_at_rest_is_given_to_nobody(house: House) -> None:
    """A5: between its last words and the end of the connection another client asks."""
    await house.client().ask(query("SELECT 1"))
    upstream = house.upstreams[0]
    upstream.transport.protocol.data_received(upstream.postgres.die())
    assert tags(await house.client().ask(query("SELECT 1"))) == "TDCZi"
    assert len(house.upstreams) == 2
    assert house.pool.closed[CloseReason.LOST] == 1


@pytest.mark.parametrize("unasked", [b"Z\0\0\0\5I", b"C\0\0\0\x0aCHECK\0\0", b"D\0\0\0\6\0\0"])
async def test_a_server_that_talks_unasked_is_closed_and_nobody_hears_it(house: House, unasked: bytes) -> None:
    """A4, A5."""
    client = house.client()
    await client.ask(query("SELECT 1"))
    heard = client.heard
    house.upstreams[0].transport.protocol.data_received(unasked)
    await house.rest()
    assert client.heard == heard
    assert house.upstreams[0].transport.closing
    assert tags(await client.ask(query("SELECT 1"))) == "TDCZi"


@pytest.mark.parametrize(
    "said", [messages.notice_response("01000", "careful"), messages.parameter_status("TimeZone", "Etc/GMT")]
)
async def test_a_notice_or_a_reload_at_rest_disturbs_nobody(house: House, said: bytes) -> None:
    """A2, A3."""
    client = house.client()
    await client.ask(query("SELECT 1"))
    heard = client.heard
    house.upstreams[0].transport.protocol.data_received(said)
    await house.rest()
    assert client.heard == heard
    assert tags(await client.ask(query("SELECT 1"))) == "TDCZi"
    assert len(house.upstreams) == 1


async def test_what_was_said_before_a_goodbye_is_done(house: House) -> None:
    client = house.client()
    client.say(query("INSERT a") + TERMINATE)
    await house.rest()
    assert house.postgres.committed == ["INSERT a"]
    house.check_at_rest()
    assert len(house.upstreams) == 1


async def test_a_goodbye_without_sync_undoes_the_batch_at_once(house: House) -> None:
    """X18: as PostgreSQL does it; nobody waits for what can't come."""
    client = house.client()
    await client.ask(query("SELECT 1"))
    runs = parse("INSERT a") + bind() + execute() + parse("SELECT FOREVER") + bind() + execute()
    client.say(runs + FLUSH + TERMINATE)
    await house.rest()
    assert house.postgres.committed == []
    assert house.cancels == [1]
    house.check_at_rest()


async def test_a_statement_that_runs_is_cancelled_when_its_client_vanishes(house: House) -> None:
    client = house.client()
    client.say(query("SELECT FOREVER"))
    await house.rest()
    assert house.postgres.running
    client.go()
    await house.rest()
    assert house.cancels == [1]
    house.check_at_rest()
    assert tags(await house.client().ask(query("SELECT 1"))) == "TDCZi"


async def test_a_server_with_an_advisory_lock_ends_with_its_client(house: House) -> None:
    """T10: the client may still believe in its lock; the end of the backend is the end that PostgreSQL shows."""
    client = house.client()
    await client.ask(query("SELECT pg_advisory_lock(1)"))
    client.go()
    await house.rest()
    assert house.upstreams[0].postgres.said_goodbye
    assert house.pool.closed[CloseReason.DIRTY] == 1
    house.check_at_rest()


async def test_a_goodbye_gives_the_advisory_lock_back_and_keeps_the_server(house: House) -> None:
    client = house.client()
    await client.ask(query("SELECT pg_advisory_lock(1)"))
    await client.ask(TERMINATE)
    assert house.postgres.advisory_locks == 0
    assert not house.postgres.closed
    house.check_at_rest()


HALF_OPEN = parse("SELECT 1") + bind() + execute()
"""A batch without its Sync."""


@pytest.mark.parametrize("fails", [False, True])
async def test_a_query_in_a_batch_without_its_sync_harms_nobody_else(
    house: House, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """X3: PostgreSQL 18 refuses whatever comes after the Sync. Poolguard asks first, and throws such a server away."""
    client, other = house.client(), house.client("other")
    await client.ask(query("SELECT 1"))
    postgres, run = house.postgres, house.postgres._run

    def refuse(text: str, *, simple: bool) -> None:
        if text == "DEALLOCATE ALL":
            raise Failure("XX000", "StartTransactionCommand: unexpected state STARTED")
        run(text, simple=simple)

    if fails:
        monkeypatch.setattr(postgres, "_run", refuse)
    await client.ask(HALF_OPEN + query("SELECT 1"))
    assert tags(await client.ask(SYNC)) == "Zi"
    assert tags(await other.ask(query("SELECT 1"))) == "TDCZi"
    assert len(house.upstreams) == 1 + fails
    assert ("DEALLOCATE ALL" in postgres.ran) is not fails
    house.check_at_rest()
