"""What the ledger says of a transaction's age, and of its client's name."""

from poolguard.ledger.facts import transaction_facts
from tests.support.relaying import Client, House, tags
from tests.support.speech import query


def age(client: Client, now: float) -> float:
    return transaction_facts(client.session.entry, now).transaction_seconds


def long_ago(client: Client) -> float:
    """Move what the session has begun an hour into the past; the age that is to be seen no more."""
    client.session.entry.began_at -= 3600.0
    return 3000.0


async def test_the_age_starts_anew_behind_a_commit_in_the_middle_of_a_pipeline(house: House) -> None:
    """X4, B7: the holder never gives its server back, and yet it is another transaction."""
    client = house.client()
    await client.ask(query("BEGIN") + query("SELECT 1"))
    old = long_ago(client)
    assert tags(await client.ask(query("COMMIT") + query("BEGIN") + query("SELECT 1"))) == "CZiCZtTDCZt"
    assert age(client, client.session.entry.phase_since) < old


async def test_the_age_starts_anew_behind_a_commit_in_one_text(house: House) -> None:
    """Q5: COMMIT AND CHAIN likewise, where PostgreSQL says only `T`."""
    client = house.client()
    await client.ask(query("BEGIN") + query("SELECT 1"))
    old = long_ago(client)
    assert tags(await client.ask(query("COMMIT;BEGIN"))) == "CCZt"
    assert age(client, client.session.entry.phase_since) < old


async def test_the_idle_time_of_a_pinned_session_is_not_its_transactions_age(house: House) -> None:
    """T10, B7: nor that of a session in a pool of mode session."""
    client = house.client()
    await client.ask(query("SET work_mem = 1"))
    for text in ("BEGIN", "SELECT 1"):
        old = long_ago(client)
        await client.ask(query("ROLLBACK"))
        client.session.entry.began_at -= 3600.0
        client.say(query(text))
        assert age(client, client.session.entry.phase_since) < old
        await house.rest()


async def test_the_ledger_follows_the_application_name(house: House) -> None:
    """T1: holders are named in errors as they named themselves last."""
    client = house.client("shop", application_name="shop")
    entry = client.session.entry
    await client.ask(query("SET application_name = 'report'"))
    assert entry.application_name == "report"
    await client.ask(query("BEGIN") + query("SET application_name = 'lost'") + query("ROLLBACK"))
    assert entry.application_name == "report"
