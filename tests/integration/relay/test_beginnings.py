"""What a RESET leads back to: the client's own beginning, as PostgreSQL has it for a session with these parameters."""

from typing import Final

import pytest

from tests.integration.relay.differential import Masked, Neighbour, Script, ask, flushed, masked, sql
from tests.integration.relay.raw import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    bind,
    connected,
    copy_data,
    copy_fail,
    execute,
    function_call,
    parse,
    query,
    run,
)
from tests.support.cluster import Database
from tests.support.running import MODES, TRANSACTION, both_modes, running

TABLE: Final = "create table if not exists public.copied (a int)"
COPY: Final = "copy public.copied from stdin"
REPEAT: Final = 1622
NOBODY: Final = 4_000_000
"""A function, and what is none, by oid."""
SHOW: Final = sql(
    "show timezone", "show application_name", "show client_encoding", "show datestyle", "show work_mem",
    "show search_path", "show statement_timeout",
)  # fmt: skip
SCRIPTS: Final[dict[str, Script]] = {
    "T11 nothing": SHOW,
    "T8 DISCARD ALL": [*sql("set timezone = 'Asia/Tokyo'", "set work_mem = '7MB'", "discard all"), *SHOW],
    "T8 DISCARD ALL of nothing": [*sql("discard all"), *SHOW, *sql("discard all"), *SHOW],
    "T8 DISCARD ALL by the extended protocol": [*sql("set timezone = 'Asia/Tokyo'"), ask(run("discard all"), SYNC), *SHOW],
    "T8 RESET ALL": [*sql("set timezone = 'Asia/Tokyo'", "set application_name = 'x'", "reset all"), *SHOW],
    "T8 RESET ALL with what follows in one write": [
        ask(query("set timezone = 'Asia/Tokyo'"), query("reset all"), query("show timezone"), times=3),
        ask(query("reset all"), query("show work_mem"), run("show search_path"), SYNC, times=3),
    ],
    "T8 RESET ALL with what follows in one batch": [
        ask(run("set timezone = 'Asia/Tokyo'"), run("reset all"), run("show timezone"), run("show work_mem"), SYNC),
        ask(run("reset all"), run("set timezone = 'Asia/Tokyo'"), run("set work_mem = '7MB'"), SYNC),
        *SHOW,
        ask(run("discard all"), run("show timezone"), run("show search_path"), SYNC),
        ask(parse("select 1"), SYNC, bind(), execute(), run("reset timezone"), SYNC, times=2),
        ask(bind(), execute(), SYNC),
        *SHOW,
    ],
    "T8 T4 what a text sets behind its RESET": [
        *sql("reset all; set timezone = 'Asia/Tokyo'; set work_mem = '7MB'"),
        *SHOW,
        *sql("reset timezone; set timezone = 'UTC'", "show timezone", "set timezone = 'UTC'; reset timezone"),
        *SHOW,
        *sql("reset all; select set_config('timezone', 'Asia/Tokyo', false)", "reset all; select 1/0", "begin; reset all"),
        *SHOW,
        *sql("commit", "begin", "select 1/0", "rollback; reset all"),
        *SHOW,
    ],
    "T8 X3 a RESET that an error skips": [
        ask(run("select 1/0"), query("reset all"), query("reset timezone; set work_mem = '7MB'"), SYNC),
        *SHOW,
        ask(query("begin"), query("select 1/0"), query("reset all"), query("rollback"), query("show timezone"), times=5),
        *SHOW,
    ],
    "T8 RESET of one": [
        *sql("set timezone = 'Asia/Tokyo'", "set application_name = 'x'", "set search_path = public"),
        *sql("reset timezone", "reset search_path", "reset work_mem"),
        *SHOW,
    ],
    "T8 RESET by other words": [
        *sql("set time zone 'Asia/Tokyo'", "set time zone default", "set datestyle = sql", "set datestyle to default"),
        *sql("set session application_name = 'x'", "set application_name = default", "set names 'utf8'", "set names default"),
        *sql("set schema 'x'", "set search_path to default", "reset time zone", "set work_mem = default"),
        *SHOW,
    ],
    "T8 prepared": [
        ask(parse("reset all", "r"), parse("set timezone = 'Asia/Tokyo'", "s"), SYNC),
        ask(bind(name="s"), execute(), SYNC, bind(name="r"), execute(), SYNC, times=2),
        *SHOW,
        ask(bind(name="s"), execute(), bind(name="r"), execute(), SYNC),
        *SHOW,
    ],
    "T8 only what is executed counts": [
        *sql("set timezone = 'Asia/Tokyo'"),
        ask(parse("reset all", "r"), parse("discard all"), bind(), bind(name="r", portal="p"), SYNC),
        *SHOW,
        ask(run("select 1/0"), bind(name="r"), execute(), SYNC),
        *SHOW,
        ask(bind(name="r"), execute(), run("select 1/0"), SYNC),
        *SHOW,
        ask(run("discard all"), run("select 1/0"), SYNC),
        *SHOW,
    ],
    "T8 an error behind a DISCARD ALL in its batch": [
        flushed(run("discard all"), run("select 1/0"), FLUSH, last="E"),
        ask(SYNC),
        *SHOW,
        flushed(run("discard all"), FLUSH, last="C"),
        flushed(run("select 1/0"), FLUSH, last="E"),
        ask(SYNC),
        *SHOW,
    ],
    "T8 X3 a DISCARD ALL in a batch that a Query or FunctionCall ends": [
        ask(run("discard all"), query("select 1/0"), SYNC, times=2),
        *SHOW,
        ask(run("discard all"), run("select 1/0"), query("select 1"), SYNC),
        *SHOW,
        ask(run("discard all"), function_call(NOBODY), SYNC, times=2),
        *SHOW,
        ask(run("discard all"), run("select 1/0"), function_call(REPEAT, b"abc", b"\0\0\0\2"), SYNC),
        *SHOW,
    ],
    "T8 C1 COPY behind a DISCARD ALL in its batch": [
        *(
            step
            for ending in (copy_data("1\n") + COPY_DONE, copy_data("x\n") + COPY_DONE, copy_fail("no"))
            for step in (
                flushed(run("discard all"), run(COPY), SYNC, last="G"),
                ask(ending, SYNC),
                *SHOW,
                ask(run("discard all"), run(COPY), ending, SYNC),
                ask(run("discard all"), run(COPY), SYNC, ending, SYNC),
                *SHOW,
            )
        ),
    ],
    "T8 C1 COPY in one text with RESET ALL": [
        flushed(query(f"reset all; {COPY}"), last="G"),
        ask(copy_data("1\n"), COPY_DONE, query("show timezone"), times=2),
        *SHOW,
        ask(query(f"reset all; {COPY}; {COPY}"), (copy_data("1\n") + COPY_DONE) * 2, query("show work_mem"), times=2),
        flushed(query(f"begin; reset all; commit; {COPY}"), last="G"),
        ask(copy_data("x\n"), copy_data("1\n")),
        ask(COPY_DONE, query("show timezone")),
        *SHOW,
    ],
    "T1 in a transaction": [
        *sql("set timezone = 'Asia/Tokyo'", "begin", "reset timezone", "show timezone", "rollback", "show timezone"),
        *sql("begin", "reset all", "show timezone", "show work_mem", "commit"),
        *SHOW,
    ],
    "T1 behind a savepoint": [
        *sql("begin", "savepoint a", "set timezone = 'Asia/Tokyo'", "reset timezone", "rollback to a", "commit"),
        *SHOW,
    ],
    "T9 DISCARD ALL where it is refused": [
        *sql("begin", "select 1", "discard all", "rollback"),
        *SHOW,
        *sql("select 1; discard all"),
        ask(run("select 1"), run("discard all"), run("select 2"), SYNC),
        *SHOW,
    ],
    "T8 RESET where it is refused": [
        *sql("set timezone = 'Asia/Tokyo'", "begin", "select 1/0", "reset all", "rollback"),
        *SHOW,
        ask(query("begin"), query("select 1/0"), query("reset all"), query("rollback"), query("show timezone"), times=5),
        *SHOW,
    ],
    "T2 SET LOCAL": [
        *sql("begin", "set local timezone = 'Asia/Tokyo'", "set local work_mem = '7MB'", "show timezone", "commit"),
        *SHOW,
    ],
    "T7 set_config and functions": [
        *sql("select set_config('timezone', 'Asia/Tokyo', false)", "do $$ begin set application_name = 'done'; end $$"),
        *SHOW,
        *sql("do $$ begin perform set_config('work_mem', '7MB', false); end $$", "show work_mem", "discard all"),
        *SHOW,
    ],
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def table(shared_database: Database) -> None:
    with shared_database.connect() as connection:
        connection.execute(TABLE)


async def conversation(
    port: int, database: str, script: Script, neighbour: Neighbour | None = None
) -> list[list[Masked]]:
    async with connected(
        port,
        database,
        TimeZone="Asia/Seoul",
        application_name="shop",
        client_encoding="latin1",
        DateStyle="iso, dmy",
        options="-c work_mem=77MB -c search_path=mine,public --statement-timeout=77s",
    ) as client:
        received = []
        for step in script:
            if neighbour is not None:
                await neighbour.moves()
            client.send(step.data)
            received.append(masked(await client.until(step.last, step.times)))
        client.send(TERMINATE)
        return received


@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_reset_leads_back_to_what_the_client_asked_for_at_its_login(
    name: str, shared_database: Database
) -> None:
    """T1, T2, T7, T8, T9, T11, S8, S9: ParameterStatus too, in both modes."""
    expected = await conversation(shared_database.port, shared_database.name, SCRIPTS[name])
    async with running(shared_database, both_modes(1)) as relay:
        for mode in MODES:
            assert await conversation(relay.port, mode, SCRIPTS[name]) == expected, mode
        await relay.at_rest(sessions=0)


@pytest.mark.parametrize("name", SCRIPTS)
async def test_it_does_so_on_servers_that_others_use_too(name: str, shared_database: Database) -> None:
    """T1, T8: and what this client had is nobody else's."""
    expected = await conversation(shared_database.port, shared_database.name, SCRIPTS[name])
    async with running(shared_database, both_modes(2)) as relay:
        async with connected(relay.port, TRANSACTION) as other:
            neighbour = Neighbour(other)
            assert await conversation(relay.port, TRANSACTION, SCRIPTS[name], neighbour) == expected
        async with (
            connected(relay.port, TRANSACTION) as stranger,
            connected(shared_database.port, shared_database.name) as direct,
        ):
            for step in SHOW[:1] + SHOW[2:]:
                assert masked(await stranger.ask(step.data)) == masked(await direct.ask(step.data))
        await relay.at_rest(sessions=0)
