"""What PostgreSQL makes of the statements: who gets a term, what a token is, what a release leaves."""

import asyncio
from uuid import uuid4

import psycopg
import pytest

from poolguard.core.errors import LeaseUnavailable
from poolguard.lease.store import Granted, HeldBy, LeaseStore, Over, Released, Renewed, Spent
from poolguard.lease.terms import StepDown, TermKey, Wanted
from tests.integration.lease.conftest import MakeStore, soon, wish
from tests.support.cluster import Database
from tests.support.eventually import eventually_async


async def acquire(
    store: LeaseStore, wanted: Wanted, *, floor: int = 0, earlier: int | None = None
) -> Granted | HeldBy | Spent:
    return await store.acquire(wanted, floor=floor, earlier_token=earlier, deadline=soon())


async def granted(store: LeaseStore, wanted: Wanted, *, floor: int = 0) -> TermKey:
    answer = await acquire(store, wanted, floor=floor)
    assert isinstance(answer, Granted)
    return TermKey(wanted.name, wanted.holder, answer.row.token)


async def test_first_term_of_a_name(store: LeaseStore) -> None:
    answer = await acquire(
        store, Wanted(name="a/b:c", holder="pödel", ttl_seconds=2.5, request_id="r", metadata={"k": 1})
    )
    assert isinstance(answer, Granted)
    row = answer.row
    assert (row.holder, row.ttl_seconds, row.transitions, row.metadata) == ("pödel", 2.5, 1, {"k": 1})
    assert row.acquired_at == row.renewed_at or row.acquired_at is not None
    assert 2.0 < row.valid_for_seconds <= 2.5
    assert not answer.replayed


async def test_token_has_the_wal_timeline_in_its_high_bits(store: LeaseStore, database: Database) -> None:
    term = await granted(store, wish())
    with database.connect() as admin:
        record = admin.execute("SELECT timeline_id FROM pg_control_checkpoint()").fetchone()
    assert record is not None
    assert term.token >> 32 == record[0]


async def test_role_without_privileges_reads_the_timeline_and_creates_its_own_schema(
    make_store: MakeStore, database: Database
) -> None:
    role = f"plain_{uuid4().hex[:8]}"
    with database.connect() as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        admin.execute(f"GRANT CREATE ON DATABASE {database.name} TO {role}")
        try:
            store = await make_store(psycopg.conninfo.make_conninfo(database.dsn, user=role, password="secret"))
            await store.prepare()
            assert (await granted(store, wish())).token >> 32 > 0
            await store.close()
        finally:
            admin.execute("DROP SCHEMA IF EXISTS poolguard CASCADE")
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


async def test_held_by_another(store: LeaseStore) -> None:
    await granted(store, wish())
    answer = await acquire(store, wish(holder="pod-2", request_id="r2"))
    assert isinstance(answer, HeldBy)
    assert answer.row.holder == "pod-1"
    assert 25 < answer.row.valid_for_seconds <= 30


async def test_same_holder_with_another_request_is_another(store: LeaseStore) -> None:
    await granted(store, wish())
    assert isinstance(await acquire(store, wish(request_id="r2")), HeldBy)


async def test_same_request_gets_the_same_term(store: LeaseStore) -> None:
    term = await granted(store, wish())
    again = await acquire(store, wish())
    assert isinstance(again, Granted)
    assert again.replayed
    assert again.row.token == term.token


async def test_losing_acquire_and_replay_write_nothing(store: LeaseStore, database: Database) -> None:
    await granted(store, wish())
    with database.connect() as admin:
        before = admin.execute("SELECT xmin, xmax, ctid FROM poolguard.lease").fetchall()
        await acquire(store, wish())
        await acquire(store, wish(holder="pod-2", request_id="r2"))
        assert admin.execute("SELECT xmin, xmax, ctid FROM poolguard.lease").fetchall() == before


async def test_request_whose_term_is_over_gets_no_second_one(store: LeaseStore) -> None:
    term = await granted(store, wish())
    assert isinstance(await store.release(term, deadline=soon()), Released)
    assert isinstance(await acquire(store, wish()), Spent)
    await granted(store, wish(request_id="r2", ttl=0.01))
    assert isinstance(await acquire(store, wish(), earlier=term.token), Spent)


async def test_expired_term_is_taken_with_a_higher_token(store: LeaseStore) -> None:
    first = await granted(store, wish(ttl=0.01))

    async def second() -> Granted | None:
        answer = await acquire(store, wish(holder="pod-2", request_id="r2"))
        return answer if isinstance(answer, Granted) else None

    answer = await eventually_async(second)
    assert answer is not None
    assert answer.row.token > first.token
    assert answer.row.transitions == 2


async def test_renew_lets_the_whole_time_run_again(store: LeaseStore) -> None:
    term = await granted(store, wish())
    answer = await store.renew(term, deadline=soon())
    assert isinstance(answer, Renewed)
    assert 29 < answer.row.valid_for_seconds <= 30
    assert answer.row.renewed_at is not None
    assert answer.row.acquired_at is not None
    assert answer.row.renewed_at > answer.row.acquired_at


@pytest.mark.parametrize(
    "wrong",
    [
        lambda term: TermKey("b", term.holder, term.token),
        lambda term: TermKey(term.name, "pod-2", term.token),
        lambda term: TermKey(term.name, term.holder, term.token + 1),
        lambda term: TermKey(term.name, term.holder, term.token - 1),
    ],
)
async def test_renew_of_anything_but_the_exact_term_changes_nothing(store: LeaseStore, wrong: object) -> None:
    term = await granted(store, wish())
    assert callable(wrong)
    before = await store.read("a", deadline=soon())
    assert isinstance(await store.renew(wrong(term), deadline=soon()), Over)
    after = await store.read("a", deadline=soon())
    assert before is not None
    assert after is not None
    assert after.renewed_at == before.renewed_at


async def test_renew_after_the_end_is_over(store: LeaseStore, database: Database) -> None:
    term = await granted(store, wish())
    with database.connect() as admin:
        admin.execute("UPDATE poolguard.lease SET expires_at = clock_timestamp()")
    answer = await store.renew(term, deadline=soon())
    assert isinstance(answer, Over)
    assert answer.row is not None
    assert not answer.row.running


async def test_release_frees_at_once_keeps_the_row_and_may_be_repeated(store: LeaseStore) -> None:
    term = await granted(store, wish())
    assert isinstance(await store.release(term, deadline=soon()), Released)
    assert isinstance(await store.release(term, deadline=soon()), Released)
    assert isinstance(await store.renew(term, deadline=soon()), Over)
    assert (await granted(store, wish(request_id="r2"))).token > term.token


async def test_release_by_an_old_term_does_nothing(store: LeaseStore) -> None:
    old = await granted(store, wish())
    await store.release(old, deadline=soon())
    new = await granted(store, wish(request_id="r2"))
    assert isinstance(await store.release(old, deadline=soon()), Over)
    assert isinstance(await store.renew(new, deadline=soon()), Renewed)


async def test_deleted_row_and_truncated_table_do_not_bring_a_token_back(store: LeaseStore, database: Database) -> None:
    term = await granted(store, wish())
    with database.connect() as admin:
        admin.execute("DELETE FROM poolguard.lease")
        assert isinstance(await store.renew(term, deadline=soon()), Over)
        second = await granted(store, wish(request_id="r2"))
        admin.execute("TRUNCATE poolguard.lease RESTART IDENTITY")
        third = await granted(store, wish(request_id="r3"))
        admin.execute("DROP SCHEMA poolguard CASCADE")
        with pytest.raises(LeaseUnavailable) as caught:
            await store.renew(third, deadline=soon())
        assert "print-schema --sql" in caught.value.hint
        await store.prepare()
        fourth = await granted(store, wish(request_id="r4"), floor=third.token)
    assert term.token < second.token < third.token < fourth.token


async def test_list_pages_by_name(store: LeaseStore) -> None:
    for name in ("b/1", "a", "b/2", "c"):
        await granted(store, wish(name=name))

    async def names(**page: object) -> list[str]:
        wanted = {"after": "", "prefix": "", "limit": 10, **page}
        return [row.name for row in await store.read_all(deadline=soon(), **wanted)]  # type: ignore[arg-type]

    assert await names() == ["a", "b/1", "b/2", "c"]
    assert await names(limit=2) == ["a", "b/1"]
    assert await names(after="b/1", limit=2) == ["b/2", "c"]
    assert await names(prefix="b/") == ["b/1", "b/2"]
    assert await names(prefix="%") == []


async def test_concurrent_sidecars_create_the_schema_at_once(make_store: MakeStore) -> None:
    stores = [await make_store(schema='we"ird-x'.replace('"', "_")) for _ in range(8)]
    await asyncio.gather(*(store.prepare() for store in stores))
    await granted(stores[0], wish())


async def test_role_that_may_not_create_is_told_of_print_schema(make_store: MakeStore, database: Database) -> None:
    role = f"poor_{uuid4().hex[:8]}"
    with database.connect() as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        try:
            store = await make_store(psycopg.conninfo.make_conninfo(database.dsn, user=role, password="secret"))
            with pytest.raises(LeaseUnavailable) as caught:
                await store.prepare()
            assert "print-schema --sql" in caught.value.hint
            # The DBA does it, and forgets the grants; then remembers.
            with_owner = await make_store()
            await with_owner.prepare()
            with pytest.raises(LeaseUnavailable, match=r"role may not|not ours"):
                await store.prepare()
            admin.execute(f"GRANT USAGE ON SCHEMA poolguard TO {role}")
            admin.execute(f"GRANT SELECT, INSERT, UPDATE ON poolguard.lease TO {role}")
            with pytest.raises(LeaseUnavailable, match="role may not"):
                await store.prepare()
            admin.execute(f"GRANT USAGE ON SEQUENCE poolguard.lease_token TO {role}")
            await store.prepare()
            await granted(store, wish())
            await store.close()
        finally:
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


async def test_missing_schema_that_must_not_be_created_is_told(make_store: MakeStore) -> None:
    store = await make_store(create_schema=False)
    with pytest.raises(LeaseUnavailable, match="create_schema is false") as caught:
        await store.prepare()
    assert "print-schema --sql" in caught.value.hint


async def test_renewals_stay_on_the_page(store: LeaseStore, database: Database) -> None:
    """Only the name is indexed, and pages are half empty: updates are HOT."""
    term = await granted(store, wish())
    for _ in range(20):
        await store.renew(term, deadline=soon())
    await store.close()  # backends hand in their statistics when they end

    def hot() -> tuple[object, ...] | None:
        with database.connect() as admin:
            return admin.execute(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'lease' AND n_tup_upd >= 21"
            ).fetchone()

    updated = await eventually_async(hot)
    assert updated is not None
    assert updated[0] == updated[1]


async def test_two_connections_are_open_from_the_start_with_the_name_that_dbas_see(
    store: LeaseStore, database: Database
) -> None:
    def backends() -> bool:
        with database.connect() as admin:
            found = admin.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'poolguard-lease' AND datname = %s",
                [database.name],
            ).fetchone()
        return found == (2,)

    await eventually_async(backends)


async def test_table_of_an_earlier_version_is_brought_up_to_date(store: LeaseStore, database: Database) -> None:
    term = await granted(store, wish())
    with database.connect() as admin:
        admin.execute(
            "ALTER TABLE poolguard.lease DROP version, DROP step_down, DROP hold_off, DROP hold_off_until,"
            " DROP stepped_down, DROP preferred"
        )
    await store.prepare()
    assert isinstance(await store.renew(term, deadline=soon()), Renewed)
    found = await store.read("a", deadline=soon())
    assert found is not None
    assert (found.version, found.step_down, found.held_off) == (0, None, None)


async def test_version_grows_with_every_change_but_a_plain_renewal(store: LeaseStore) -> None:
    term = await granted(store, wish())
    seen = []

    async def look() -> None:
        found = await store.read("a", deadline=soon())
        assert found is not None
        seen.append((found.version, found.index))

    await look()
    await store.renew(term, deadline=soon())
    await look()
    await store.renew(term, metadata={"k": 1}, deadline=soon())
    await look()
    await store.renew(term, metadata={"k": 1}, deadline=soon())
    await look()
    await store.ask_to_step_down("a", StepDown(5.0, "pod-2"), deadline=soon())
    await look()
    await store.release(term, StepDown(5.0, "pod-2"), deadline=soon())
    await look()
    assert seen == [(1, 2), (1, 2), (2, 4), (2, 4), (3, 6), (4, 9)]


async def test_hold_off_is_on_the_clock_of_postgresql(store: LeaseStore, database: Database) -> None:
    term = await granted(store, wish())
    await store.release(term, StepDown(30.0), deadline=soon())
    answer = await acquire(store, wish(request_id="r2"))
    assert isinstance(answer, HeldBy)
    assert answer.row.held_off is not None
    assert 25 < answer.row.held_off.seconds <= 30
    other = await granted(store, wish(holder="pod-2", request_id="r3"))
    await store.release(other, StepDown(30.0, preferred="pod-3"), deadline=soon())
    assert isinstance(await acquire(store, wish(request_id="r4")), HeldBy)
    assert isinstance(await acquire(store, wish(holder="pod-2", request_id="r5")), HeldBy)
    with database.connect() as admin:
        admin.execute("UPDATE poolguard.lease SET hold_off_until = clock_timestamp()")
    await granted(store, wish(request_id="r6"))


async def test_of_a_lease_with_slots_each_contender_gets_one_until_none_is_left(store: LeaseStore) -> None:
    wishes = [Wanted(name="w", holder=f"pod-{n}", ttl_seconds=30.0, request_id=f"r{n}", slots=3) for n in range(8)]
    answers = await asyncio.gather(*(acquire(store, wanted) for wanted in wishes))
    won = [answer.row for answer in answers if isinstance(answer, Granted)]
    assert sorted(row.name for row in won) == ["w/0", "w/1", "w/2"]
    assert len({row.token for row in won}) == 3
    assert sum(isinstance(answer, HeldBy) for answer in answers) == 5
    winner = next(wanted for wanted in wishes if wanted.holder == won[0].holder)
    again = await acquire(store, winner)
    assert isinstance(again, Granted)
    assert (again.replayed, again.row.name, again.row.token) == (True, won[0].name, won[0].token)
