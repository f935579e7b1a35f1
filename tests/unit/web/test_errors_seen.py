"""GET /v1/errors."""

from poolguard.guard.errors import Offence
from poolguard.wire.fingerprint import Fingerprint
from tests.support.web import Control


async def test_pairs_come_with_their_texts_most_frequent_first() -> None:
    control = Control()
    control.errors.deadlocks["app"] = 3
    control.errors.pairs.update({("aa", "bb"): 2, ("other", "other"): 7})
    control.errors.texts.update({"aa": "update a", "bb": "update b"})
    async with control.client() as client:
        answer = await (await client.get("/v1/errors")).json()
    assert answer["deadlocks_total"] == {"app": 3}
    assert [(pair["total"], [one["text"] for one in pair["statements"]]) for pair in answer["deadlock_pairs"]] == [
        (7, [None, None]),
        (2, ["update a", "update b"]),
    ]


async def test_a_duplicate_key_comes_with_whoever_ran_into_it_last() -> None:
    control = Control()
    key = ("app", "session", "session_pkey")
    control.errors.duplicates[key] = 5
    control.errors.latest[key] = Offence(
        application_name="umami", statement=Fingerprint("cc", "insert into session"), tags={"route": "/api/send"}
    )
    async with control.client() as client:
        answer = await (await client.get("/v1/errors")).json()
    assert answer["duplicate_keys"] == [
        {
            "pool": "app",
            "table": "session",
            "constraint": "session_pkey",
            "total": 5,
            "latest": {
                "application_name": "umami",
                "statement": {"fingerprint": "cc", "text": "insert into session"},
                "tags": {"route": "/api/send"},
            },
        }
    ]
