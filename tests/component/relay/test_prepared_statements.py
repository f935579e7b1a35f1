"""Prepared statements across servers, errors and rollbacks."""

import pytest

from poolguard.ledger.entries import Phase
from poolguard.settings.model import Limits
from poolguard.wire.framing import FrameSplitter
from tests.support.relaying import Client, House, errors, sqlstates, tags
from tests.support.speech import FLUSH, SYNC, batch, bind, close, describe, execute, message, named, parse, query

UNKNOWN = "26000"
CHANGED = "FAIL 0A000"


async def occupy(house: House) -> Client:
    """Another client takes the server that would be next, and keeps it."""
    other = house.client("other")
    assert tags(await other.ask(query("BEGIN;SELECT other"))) == "CTDCZt"
    return other


async def test_an_older_unnamed_statement_on_another_server_is_never_run(pair: House) -> None:
    """P16: two Parses on two servers; the Bind on the first runs the second text."""
    client = pair.client()
    assert tags(await client.ask(parse("INSERT old") + SYNC)) == "1Zi"
    other = await occupy(pair)
    assert tags(await client.ask(parse("INSERT new") + SYNC)) == "1Zi"
    second = await occupy(pair)
    await other.ask(query("COMMIT"))
    assert tags(await client.ask(bind() + execute() + SYNC)) == "2CZi"
    assert pair.upstreams[0].postgres.committed == ["INSERT new"]
    await second.ask(query("COMMIT"))
    pair.check_at_rest()


@pytest.mark.parametrize("before", [b"", query("SELECT 1"), parse("SELECT 1") + close("S") + SYNC])
async def test_the_unnamed_statement_of_another_client_is_never_run(house: House, before: bytes) -> None:
    """P16: a client that has none gets 26000, as from PostgreSQL."""
    other, client = house.client(), house.client()
    await client.ask(before)
    await other.ask(batch("INSERT secret"))
    assert sqlstates(await client.ask(bind() + execute() + SYNC)) == [UNKNOWN]
    assert sqlstates(await client.ask(describe("S") + SYNC)) == [UNKNOWN]
    assert house.postgres.ran[-1] == "INSERT secret"


@pytest.mark.parametrize("forget", ["DEALLOCATE ALL", "DISCARD ALL"])
async def test_what_an_error_kept_from_being_forgotten_is_not_prepared_again(house: House, forget: str) -> None:
    """P10, X4: the error comes alone, and the batch behind it goes on before ReadyForQuery has come."""
    client = house.client()
    await client.ask(parse("SELECT s", "s") + SYNC)
    upstream = house.upstreams[0]
    upstream.silent = True
    client.say(bind("nix") + parse(forget) + bind() + execute() + SYNC + named("s"))
    await house.rest()
    answers = FrameSplitter(max_body=2**20).feed(upstream.take())
    for tag, body in answers:
        upstream.transport.protocol.data_received(message(bytes([tag]), body))
        await house.rest()
    upstream.silent = False
    upstream.speak()
    await house.rest()
    assert tags(client.heard) == "1ZiEZi2DCZi"
    house.check_at_rest()


async def test_a_parse_that_an_error_skipped_leaves_no_stranger_in_its_place(house: House) -> None:
    """P3, P16: after the failed batch, the server's unnamed statement is another client's."""
    other, client = house.client(), house.client()
    await other.ask(batch("INSERT other"))
    assert sqlstates(await client.ask(bind("nix") + parse("SELECT mine") + SYNC)) == [UNKNOWN]
    await client.ask(bind() + execute() + SYNC)
    assert house.postgres.ran.count("INSERT other") == 1


async def test_the_unnamed_statement_survives_an_error_of_its_execution(house: House) -> None:
    client = house.client()
    await client.ask(parse("FAIL") + SYNC)
    for _ in range(2):
        assert sqlstates(await client.ask(bind() + execute() + SYNC)) == ["22012"]


async def test_a_switch_of_parameters_between_parse_and_bind_drops_nothing(house: House) -> None:
    """P16, A3: the query that gives the server this client's parameters drops the unnamed statement."""
    client, other = house.client(timezone="Asia/Tokyo"), house.client()
    await client.ask(parse("SHOW TimeZone") + SYNC)
    await other.ask(parse("SHOW TimeZone", "a") + SYNC)
    answer = await client.ask(bind() + execute() + SYNC)
    assert tags(answer) == "2DCZi"
    assert b"Asia/Tokyo" in answer


async def test_an_eviction_that_an_error_skipped_did_not_happen() -> None:
    """P5: the evicted statement is still there; preparing it again must not meet 42P05."""
    house = House(prepared_statements=1)
    client = house.client()
    await client.ask(parse("SELECT a", "a") + SYNC)
    skipped = bind("nix") + parse("SELECT b", "b") + parse("SELECT a", "a2") + parse("SELECT c", "c") + SYNC
    assert sqlstates(await client.ask(skipped)) == [UNKNOWN]
    for name, text in (("a", "SELECT a"), ("b", "SELECT b"), ("c", "SELECT c"), ("a3", "SELECT a")):
        if name != "a":
            assert tags(await client.ask(parse(text, name) + SYNC)) == "1Zi"
        assert tags(await client.ask(named(name))) == "2DCZi"
    assert len(house.postgres.prepared) == 1
    await house.close()


async def test_an_eviction_in_the_batch_of_its_victim_is_not_heard_of() -> None:
    """P5, P6."""
    house = House(prepared_statements=1)
    client = house.client()
    both = parse("SELECT a", "a") + parse("SELECT b", "b")
    runs = bind("a") + execute() + bind("b") + execute() + bind("a") + describe() + execute() + SYNC
    assert tags(await client.ask(both + runs)) == "112DC2DC2TDCZi"
    assert len(house.postgres.prepared) == 1
    await house.close()


async def test_a_close_that_an_error_skipped_keeps_the_name(house: House) -> None:
    """P9."""
    client = house.client()
    await client.ask(parse("SELECT 1", "a") + SYNC)
    assert tags(await client.ask(query("BEGIN") + bind("nix") + close("S", "a") + SYNC)) == "CZtEZe"
    await client.ask(query("ROLLBACK"))
    assert tags(await client.ask(named("a"))) == "2DCZi"


@pytest.mark.parametrize("all_of_them", ["DEALLOCATE ALL", "SELECT 1;DEALLOCATE ALL"])
@pytest.mark.parametrize("first", ["BEGIN", "SET work_mem = 1"])
async def test_after_deallocate_all_on_a_server_that_is_kept_names_are_prepared_anew(
    house: House, all_of_them: str, first: str
) -> None:
    """P10: within one transaction, and on a pinned server."""
    client = house.client()
    await client.ask(query(first))
    await client.ask(parse("SELECT 1", "a") + SYNC)
    await client.ask(query(all_of_them))
    assert sqlstates(await client.ask(named("a"))) == [UNKNOWN]
    await client.ask(query("ROLLBACK"))
    assert tags(await client.ask(parse("SELECT 1", "a") + named("a")))[:5] == "12DCZ"


async def test_deallocate_by_the_extended_protocol_ends_the_clients_name_only(house: House) -> None:
    """P10: another client goes on with the same text."""
    client, other = house.client(), house.client()
    for each in (client, other):
        await each.ask(parse("SELECT 1", "a") + SYNC)
    for _ in range(2):
        answer = await client.ask(batch("DEALLOCATE a"))
        assert tags(answer) == "12nCZi"
        assert b"DEALLOCATE\0" in answer
        assert sqlstates(await client.ask(named("a"))) == [UNKNOWN]
        await client.ask(parse("SELECT 1", "a") + SYNC)
    assert tags(await other.ask(named("a"))) == "2DCZi"


async def test_deallocate_in_a_failed_transaction_is_refused_and_keeps_the_name(house: House) -> None:
    client = house.client()
    await client.ask(parse("SELECT 1", "a") + SYNC)
    await client.ask(query("BEGIN;FAIL"))
    assert sqlstates(await client.ask(query("DEALLOCATE a"))) == ["25P02"]
    await client.ask(query("ROLLBACK"))
    assert tags(await client.ask(named("a"))) == "2DCZi"


async def test_a_drivers_deallocate_is_not_what_a_transaction_did_last(house: House) -> None:
    """PDO sends one behind every statement: of a leak it would be all that one is told."""
    client = house.client()
    await client.ask(query("BEGIN"))
    await client.ask(parse("INSERT one", "pdo_stmt_00000001") + named("pdo_stmt_00000001"))
    assert tags(await client.ask(query("DEALLOCATE pdo_stmt_00000001"))) == "CZt"
    entry = client.session.entry
    assert (entry.statement, entry.phase) == (b"INSERT one", Phase.IDLE_IN_TRANSACTION)
    await client.ask(query("DEALLOCATE unknown"))
    assert entry.statement == b"DEALLOCATE unknown"
    await client.ask(query("ROLLBACK"))
    house.check_at_rest()


async def test_deallocate_behind_a_deferred_begin_says_that_the_transaction_is_open(house: House) -> None:
    """D7, P10."""
    client = house.client()
    await client.ask(parse("SELECT 1", "a") + SYNC)
    await client.ask(query("BEGIN"))
    assert tags(await client.ask(query("DEALLOCATE a"))) == "CZt"
    assert tags(await client.ask(query("COMMIT"))) == "CZi"
    house.check_at_rest()


async def test_statements_prepared_while_the_transaction_is_deferred_stay_prepared(house: House) -> None:
    """D14, P15: as drivers do that prepare COMMIT by name (pgjdbc)."""
    client = house.client()
    assert tags(await client.ask(parse("BEGIN", "s1") + named("s1"))) == "12CZt"
    for _ in range(2):
        assert tags(await client.ask(query("COMMIT"))) == "CZi"
        assert tags(await client.ask(named("s1"))) == "2CZt"
        if not client.session.statements.get(b"s2"):
            assert tags(await client.ask(parse("COMMIT", "s2") + SYNC)) == "1Zt"
        assert tags(await client.ask(named("s2"))) == "2CZi"
        await client.ask(query("BEGIN"))
    await client.ask(query("ROLLBACK"))
    house.check_at_rest()


async def test_a_prepared_rollback_can_be_prepared_in_a_failed_transaction(house: House) -> None:
    """The server has the text already: its own name must not be in the way."""
    other, client = house.client(), house.client()
    await other.ask(parse("ROLLBACK", "r") + SYNC)
    await client.ask(query("BEGIN;FAIL"))
    assert tags(await client.ask(parse("ROLLBACK", "mine") + named("mine"))) == "12CZi"
    assert tags(await other.ask(named("r"))) == "2NCZi"


@pytest.mark.parametrize("first", ["SELECT 0", "SET work_mem = 1"])
async def test_a_cached_plan_that_changed_heals_by_a_retry(house: House, first: str) -> None:
    """P12: also on a server that is never given back; by the same name, and by a new Parse."""
    client = house.client()
    await client.ask(query(first))
    await client.ask(parse(CHANGED, "a") + SYNC)
    for _ in range(2):
        assert sqlstates(await client.ask(named("a"))) == ["0A000"]
    await client.ask(parse(CHANGED, "b") + SYNC)
    assert house.postgres.parsed == [CHANGED] * 3


async def test_a_changed_plan_is_told_once_to_each_client_that_knew_the_old_one(pair: House) -> None:
    """P12: also where its server has no old copy, and would give other columns than the client was told of."""
    ann, ben = pair.client(), pair.client()
    for client in (ann, ben):
        await client.ask(parse(CHANGED, "a") + parse("SELECT 1", "b") + SYNC)
    assert sqlstates(await ann.ask(named("a"))) == ["0A000"]
    other = await occupy(pair)
    answer = await ben.ask(query("BEGIN;SELECT 1") + named("a"))
    assert tags(answer) == "CTDCZtEZe"
    assert sqlstates(answer) == ["0A000"]
    assert CHANGED not in pair.upstreams[1].postgres.ran
    assert tags(await ben.ask(query("ROLLBACK") + named("b"))) == "CZi2DCZi"
    await other.ask(query("COMMIT"))
    pair.check_at_rest()


async def test_errors_name_the_clients_statements_and_not_ours(house: House) -> None:
    """P2, P11, P14."""
    client = house.client()
    await client.ask(parse("SELECT 1", "mine") + SYNC)
    for asked, text in (
        (parse("SELECT 2", "mine") + SYNC, 'prepared statement "mine" already exists'),
        (named("theirs"), 'prepared statement "theirs" does not exist'),
        (named("__poolguard_1"), 'prepared statement "__poolguard_1" does not exist'),
    ):
        assert [fields["M"] for fields in errors(await client.ask(asked))] == [text]


async def test_clients_with_another_search_path_do_not_share_statements(house: House) -> None:
    """P13: nor do those with another role."""
    plain, like = house.client(), house.client()
    mine, role = house.client(search_path="mine"), house.client(role="reader")
    for client in (plain, like, mine, role):
        await client.ask(parse("SELECT 1", "a") + named("a"))
    assert house.postgres.parsed == ["SELECT 1"] * 3


@pytest.mark.parametrize("stray", ["SET LOCAL search_path = x", "SELECT set_config('role', 'x', true)", "SET role = x"])
async def test_what_is_prepared_while_names_mean_another_thing_is_not_shared(house: House, stray: str) -> None:
    """P13: neither a Parse there, nor one that is made up for there."""
    other, client = house.client(), house.client()
    await client.ask(parse("SELECT 0", "z") + SYNC)
    server = house.upstreams[0].server
    assert server is not None
    server.known.clear()
    house.postgres.prepared.clear()
    await client.ask(query("BEGIN") + query(stray))
    await client.ask(parse("SELECT 1", "a") + named("a") + named("z"))
    assert house.postgres.parsed == ["SELECT 0", "SELECT 1", "SELECT 0"]
    await client.ask(query("ROLLBACK"))
    client.go()
    await house.rest()
    await other.ask(parse("SELECT 1", "a") + parse("SELECT 0", "z") + SYNC)
    assert house.postgres.parsed[3:] == ["SELECT 1", "SELECT 0"]


async def test_a_statement_goes_on_where_names_mean_another_thing(house: House) -> None:
    """P13: PostgreSQL itself plans it anew, so its own copy serves; afterwards all is as before."""
    client = house.client()
    await client.ask(parse("SELECT 1", "a") + SYNC)
    await client.ask(query("BEGIN") + query("SET LOCAL search_path = x") + named("a") + query("COMMIT"))
    await client.ask(parse("SELECT 1", "b") + named("b"))
    assert house.postgres.parsed == ["SELECT 1"]


async def test_a_parse_in_a_failed_transaction_is_refused_even_if_its_text_is_known(house: House) -> None:
    """X1, P6: as PostgreSQL refuses it; afterwards the server's copy is right again."""
    client = house.client()
    await client.ask(parse("SELECT 1", "a") + SYNC)
    await client.ask(query("BEGIN;FAIL"))
    answer = await client.ask(parse("SELECT 1", "b") + SYNC)
    assert (tags(answer), sqlstates(answer)) == ("EZe", ["25P02"])
    await client.ask(query("ROLLBACK"))
    assert sqlstates(await client.ask(named("b"))) == [UNKNOWN]
    assert tags(await client.ask(named("a"))) == "2DCZi"


async def test_a_query_behind_a_batch_without_sync_ends_it(house: House) -> None:
    """X3: its ReadyForQuery is the last that is owed; the server is free."""
    client = house.client()
    assert tags(await client.ask(parse("INSERT a") + bind() + execute() + query("SELECT 1"))) == "12CTDCZi"
    assert house.postgres.committed == ["INSERT a"]
    house.check_at_rest()


async def test_a_query_that_an_error_before_it_discards_gets_no_answer_and_keeps_the_server(house: House) -> None:
    """X1, X3: until Sync PostgreSQL drops what comes, so nobody else may have this server."""
    client, other = house.client(), house.client()
    assert tags(await client.ask(parse("FAIL") + bind() + execute() + query("INSERT a"))) == "12DE"
    assert await client.ask(FLUSH + query("INSERT b")) == b""
    other.say(query("INSERT c"))
    assert other.heard == b""
    assert tags(await client.ask(SYNC)) == "Zi"
    assert tags(other.heard) == "CZi"
    assert house.postgres.committed == ["INSERT c"]
    house.check_at_rest()


async def test_a_client_that_names_a_statement_like_ours_does_not_meet_ours(house: House) -> None:
    """P14."""
    other, client = house.client(), house.client()
    await other.ask(parse("SELECT secret", "a") + SYNC)
    (ours,) = house.postgres.prepared
    assert sqlstates(await client.ask(named(ours))) == [UNKNOWN]


async def test_a_client_keeps_a_bounded_number_of_names() -> None:
    """P17: the oldest goes; the driver prepares it again on 26000 (P11)."""
    house = House(limits=Limits(statements_per_client=2))
    client = house.client()
    for name in "abc":
        await client.ask(parse(f"SELECT {name}", name) + SYNC)
    assert sqlstates(await client.ask(named("a"))) == [UNKNOWN]
    assert tags(await client.ask(named("c"))) == "2DCZi"
    await house.close()


async def test_a_pool_without_mapping_pins_who_prepares_by_name() -> None:
    house = House(prepared_statements=0)
    client = house.client()
    assert tags(await client.ask(parse("SELECT 1", "a") + named("a"))) == "12DCZi"
    assert house.pool.pinned == 1
    client.go()
    await house.rest()
    assert house.postgres.prepared == {}
    house.check_at_rest()
    await house.close()
