"""PostgreSQL that restarts, fails over, turns read-only, is full, locked or tampered with: faults 4-7, 11, 15, 16, 19."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from uuid import uuid4

import psycopg
import pytest

from poolguard.client import Term
from poolguard.core.errors import LeaseHeld, LeaseLost, LeaseUnavailable, LeaseUnknown, PoolguardError
from poolguard.demo.postgres import EmbeddedPostgres, StopMode
from tests.support.cluster import Database
from tests.support.eventually import eventually
from tests.support.history import FailedOver, Forced, boottime
from tests.support.recorder import Recorder
from tests.support.scene import Scene
from tests.support.standby import POSTGRES, Standby


@pytest.mark.parametrize("mode", [StopMode.FAST, StopMode.IMMEDIATE])
def test_fault_4_a_restart_with_a_renewal_in_flight_costs_no_lease(
    scene: Scene, pg_control: EmbeddedPostgres, mode: StopMode
) -> None:
    holder = scene.holder(scene.pod())
    term = scene.elected(holder, ttl=20.0)
    came: list[Term | PoolguardError] = []

    def renew() -> None:
        try:
            came.append(holder.renew(term))
        except PoolguardError as error:
            came.append(error)

    with closing(scene.database.connect()) as locker, closing(scene.database.connect()) as admin:
        locker.execute("BEGIN")
        locker.execute("SELECT FROM poolguard.lease FOR UPDATE")
        in_flight = threading.Thread(target=renew)
        in_flight.start()
        waits = "SELECT FROM pg_stat_activity WHERE application_name = 'poolguard-lease' AND wait_event_type = 'Lock'"
        eventually(lambda: admin.execute(waits).rowcount == 1)
        pg_control.restart(mode)
    in_flight.join(20)
    assert len(came) == 1
    assert not isinstance(came[0], LeaseLost)
    scene.healed(ttl=20.0)
    kept = eventually(lambda: renewed(holder, term), within=10.0)
    assert kept is not None
    assert kept.token == term.token
    scene.judge()


def renewed(holder: Recorder, term: Term) -> Term | None:
    """*term*, once more; None while nothing certain is answered."""
    try:
        return holder.renew(term)
    except (LeaseUnavailable, LeaseUnknown):
        return None


def test_fault_4_after_a_crash_somebody_leads_within_a_term_and_a_second(
    scene: Scene, pg_control: EmbeddedPostgres
) -> None:
    holder, other = scene.holder(scene.pod()), scene.holder(scene.pod())
    term = scene.elected(holder)
    pg_control.kill()
    with pytest.raises((LeaseUnknown, LeaseUnavailable)):
        holder.renew(term)
    pg_control.start()
    scene.healed()
    assert scene.elected(other).token > term.token
    scene.judge()


def test_fault_4_after_a_longer_absence_somebody_leads_within_a_term_and_a_second(
    scene: Scene, pg_control: EmbeddedPostgres
) -> None:
    """Pauses between attempts to connect must not grow to more than the promise allows."""
    holder = scene.holder(scene.pod())
    term = scene.elected(holder)
    pg_control.stop(StopMode.IMMEDIATE)
    away_until = boottime() + 3.3

    def asked_in_vain() -> bool:
        with pytest.raises((LeaseUnknown, LeaseUnavailable)):
            holder.renew(term)
        return boottime() > away_until

    eventually(asked_in_vain, within=20.0, every=0.1)
    pg_control.start()
    scene.healed()
    assert scene.elected(holder).token > term.token
    scene.judge()


@pytest.fixture
def replicated(scene: Scene) -> Iterator[tuple[EmbeddedPostgres, Standby, str]]:
    """A primary, a standby behind a way that can be cut, and the URL under which the writer of both is found."""
    with ExitStack() as stack:
        primary = stack.enter_context(EmbeddedPostgres(settings=POSTGRES))
        scene.database = Database(f"host=127.0.0.1 port={primary.port} user={primary.user} dbname=postgres")
        proxy = scene.way("127.0.0.1", primary.port)
        copy = Standby(primary.user, "127.0.0.1", proxy.port, cut_off=lambda: scene.network.call(proxy.refuse))
        standby = stack.enter_context(copy)
        url = f"postgresql://{primary.user}@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/postgres"
        yield primary, standby, url
        scene.close()


def fail_over(scene: Scene, primary: EmbeddedPostgres, standby: Standby) -> None:
    """The primary dies, and the standby goes on without what it had not got."""
    primary.kill()
    standby.promote()
    scene.history.note(FailedOver(at=boottime()))
    scene.database = Database(f"host=127.0.0.1 port={standby.port} user={standby.user} dbname=postgres")


def test_fault_5_a_grant_that_a_failover_loses_never_gives_its_token_again(
    scene: Scene, replicated: tuple[EmbeddedPostgres, Standby, str]
) -> None:
    """I1 and I3 hold by the token alone: that two believe for a while (I2) can't be helped."""
    primary, standby, url = replicated
    holder, other = scene.holder(scene.pod(url)), scene.holder(scene.pod(url))
    first = scene.elected(other)
    scene.write(first)
    other.release(first)
    standby.caught_up(primary)
    standby.cut_off()
    lost = scene.elected(holder, ttl=30.0)
    assert scene.write(lost)
    fail_over(scene, primary, standby)
    following = scene.elected(other, ttl=30.0)
    assert following.token > lost.token
    assert following.token >> 32 > lost.token >> 32, "the timeline is not in the token"
    assert scene.write(following)
    assert not scene.write(lost)
    with pytest.raises(LeaseLost):
        eventually(lambda: renewed(holder, lost), within=10.0)
    assert holder.leader("a") is None
    scene.judge(excused="I2")


def test_fault_6_a_renewal_that_a_failover_loses_does_not_shorten_a_live_lease(
    scene: Scene, replicated: tuple[EmbeddedPostgres, Standby, str]
) -> None:
    primary, standby, url = replicated
    holder, other = scene.holder(scene.pod(url)), scene.holder(scene.pod(url))
    term = scene.elected(holder, ttl=4.0)
    standby.caught_up(primary)
    standby.cut_off()
    with standby.connect() as admin:

        def looks_over() -> bool:
            nonlocal term
            term = holder.renew(term)
            found = admin.execute("SELECT expires_at < clock_timestamp() FROM poolguard.lease").fetchone()
            return found == (True,)

        eventually(looks_over, within=20.0, every=0.2)
    fail_over(scene, primary, standby)
    # The new writer has a term that seems to be over. A contender that asks at once must not get it.
    with pytest.raises(LeaseHeld):
        eventually(lambda: acquired(other), within=10.0)
    kept = eventually(lambda: renewed(holder, term), within=10.0)
    assert kept is not None
    assert kept.token == term.token
    scene.judge()


def acquired(holder: Recorder) -> Term | None:
    """A new term; None while nothing certain is answered."""
    try:
        return holder.acquire("a", ttl=4.0, request_id=str(uuid4()))
    except (LeaseUnavailable, LeaseUnknown):
        return None


def test_fault_7_a_server_that_turns_read_only_is_left_and_its_successor_found(
    scene: Scene, pg_control: EmbeddedPostgres
) -> None:
    """25006: the sockets stay open, so that nothing but the error tells."""
    holder, other = scene.holder(scene.pod()), scene.holder(scene.pod())
    term = scene.elected(holder)
    with pg_control.connect() as admin:
        admin.execute("SET default_transaction_read_only = off")
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        try:
            admin.execute("SELECT pg_reload_conf()")

            def refused() -> bool:
                try:
                    holder.renew(term)
                except LeaseUnavailable:
                    return True
                return False

            eventually(refused)
        finally:
            admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
            admin.execute("SELECT pg_reload_conf()")
    scene.healed()
    assert scene.elected(other).token > term.token
    scene.judge()


def test_fault_11_with_no_slot_left_the_lease_is_unavailable_and_comes_back_with_one(scene: Scene) -> None:
    """A role without reserved slots: what is lost can't be replaced until there is room; nobody is told otherwise."""
    with EmbeddedPostgres(settings={"max_connections": "14", "superuser_reserved_connections": "2"}) as small:
        with small.connect() as admin:
            admin.execute("CREATE ROLE sidecar LOGIN; GRANT CREATE ON DATABASE postgres TO sidecar")
            scene.database = Database(f"host=127.0.0.1 port={small.port} user=sidecar dbname=postgres")
            holder = scene.holder(scene.pod())
            term = scene.elected(holder, ttl=4.0)
            crowd = fill(small, "sidecar")
            # While its connections stand, a full server costs a lease nothing.
            for _ in range(5):
                term = holder.renew(term)
            taken = end_and_take(small, admin, "sidecar")
            with pytest.raises((LeaseUnavailable, LeaseUnknown)):
                holder.renew(term)
            eventually(lambda: holder.leader("a") is None, within=20.0)
            for connection in [*crowd, *taken]:
                connection.close()
            scene.healed(ttl=4.0)
            scene.elected(holder, ttl=4.0)
        scene.judge()
        scene.close()


def test_fault_11_with_reserved_slots_the_lease_is_kept(scene: Scene) -> None:
    with EmbeddedPostgres(settings={"max_connections": "14", "superuser_reserved_connections": "4"}) as small:
        with small.connect() as admin:
            admin.execute("CREATE ROLE app LOGIN")
            scene.database = Database(f"host=127.0.0.1 port={small.port} user={small.user} dbname=postgres")
            holder = scene.holder(scene.pod())
            term = scene.elected(holder, ttl=10.0)
            crowd = fill(small, "app")
            taken = end_and_take(small, admin, "app")
            for _ in range(5):
                term = holder.renew(term)
            assert holder.leader("a") == term.token
            for connection in [*crowd, *taken]:
                connection.close()
        scene.judge()
        scene.close()


def fill(server: EmbeddedPostgres, role: str) -> list[psycopg.Connection[tuple[object, ...]]]:
    """Connect until the server says that it is full."""
    made = []
    with pytest.raises(psycopg.OperationalError, match=r"too many clients|remaining connection slots"):
        while True:
            made.append(psycopg.connect(host=server.host, port=server.port, user=role, dbname="postgres"))
    return made


def end_and_take(
    server: EmbeddedPostgres, admin: psycopg.Connection[tuple[object, ...]], role: str
) -> list[psycopg.Connection[tuple[object, ...]]]:
    """End the lease connections, and take what slots that leaves before they are back."""
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'poolguard-lease%'"
    admin.execute(ended)
    made = []
    for _ in range(40):
        try:
            made.append(psycopg.connect(host=server.host, port=server.port, user=role, dbname="postgres"))
        except psycopg.OperationalError:
            if made:
                break
            admin.execute(ended)
    return made


def test_fault_15_releases_that_race_takeovers_end_one_term_each(scene: Scene) -> None:
    one, two = scene.holder(scene.pod()), scene.holder(scene.pod())
    term = scene.elected(one, ttl=30.0)
    for _ in range(15):
        with ThreadPoolExecutor(1) as taking:
            following = taking.submit(scene.elected, two, ttl=30.0)
            one.release(term)
        assert following.result().token > term.token
        one, two, term = two, one, following.result()
    scene.judge()


def test_fault_15_a_release_may_be_repeated_and_an_old_one_hits_nothing(scene: Scene) -> None:
    one, two = scene.holder(scene.pod()), scene.holder(scene.pod())
    old = scene.elected(one, ttl=30.0)
    one.release(old)
    one.release(old)
    new = scene.elected(two, ttl=30.0)
    with pytest.raises(LeaseLost):
        one.release(old)
    assert two.renew(new).token == new.token
    scene.judge()


def test_fault_16_a_renewal_behind_a_lock_past_the_end_revives_nothing(scene: Scene) -> None:
    holder, other = scene.holder(scene.pod()), scene.holder(scene.pod())
    term = scene.elected(holder)
    with scene.database.connect() as locker:
        locker.execute("BEGIN")
        locker.execute("SELECT FROM poolguard.lease FOR UPDATE")
        over = "SELECT FROM poolguard.lease WHERE expires_at < clock_timestamp()"

        def ended() -> bool:
            assert renewed(holder, term) is None
            return locker.execute(over).rowcount == 1

        eventually(ended, within=10.0)
    with pytest.raises(LeaseLost):
        eventually(lambda: renewed(holder, term), within=10.0)
    assert scene.elected(other).token > term.token
    scene.judge()


@pytest.mark.parametrize("tampering", ["DELETE FROM poolguard.lease", "TRUNCATE poolguard.lease"])
def test_fault_19_a_row_that_is_deleted_is_noticed_and_its_token_never_comes_again(
    scene: Scene, tampering: str
) -> None:
    holder, other = scene.holder(scene.pod()), scene.holder(scene.pod())
    term = scene.elected(holder, ttl=30.0)
    scene.history.note(Forced(name="a", token=term.token, at=boottime()))
    with scene.database.connect() as admin:
        admin.execute(tampering)
    with pytest.raises(LeaseLost):
        holder.renew(term)
    assert holder.leader("a") is None
    assert scene.elected(other).token > term.token
    scene.judge()
