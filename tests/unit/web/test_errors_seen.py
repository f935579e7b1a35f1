"""GET /v1/errors."""

from tests.support.web import Control


async def test_pairs_come_with_their_texts_most_frequent_first() -> None:
    control = Control()
    control.errors.deadlocks["app"] = 3
    control.errors.pairs.update({("aa", "bb"): 2, ("other", "other"): 7})
    control.errors.texts.update({"aa": "update a", "bb": "update b"})
    control.errors.duplicates["app", "session", "session_pkey"] = 5
    async with control.client() as client:
        answer = await (await client.get("/v1/errors")).json()
    assert answer["deadlocks_total"] == {"app": 3}
    assert [(pair["total"], [one["text"] for one in pair["statements"]]) for pair in answer["deadlock_pairs"]] == [
        (7, [None, None]),
        (2, ["update a", "update b"]),
    ]
    assert answer["duplicate_keys"] == [{"pool": "app", "table": "session", "constraint": "session_pkey", "total": 5}]
