"""JSON answers, long ones in slices."""

import asyncio
import json
from time import perf_counter

from poolguard.web.replies import SLICE_SECONDS, reply, reply_list, to_json


def body(response: object) -> object:
    return json.loads(getattr(response, "body"))  # noqa: B009 - aiohttp types it as a payload too


async def test_a_list_stands_beside_what_is_around_it() -> None:
    answer = await reply_list("numbers", [1, 2], lambda number: {"n": number}, total=2)

    assert body(answer) == {"total": 2, "numbers": [{"n": 1}, {"n": 2}]}


async def test_an_empty_list_is_a_list() -> None:
    assert body(await reply_list("numbers", [], str)) == {"numbers": []}


async def test_others_run_while_a_long_list_is_rendered() -> None:
    def slow(number: int) -> int:
        end = perf_counter() + SLICE_SECONDS
        while perf_counter() < end:
            pass
        return number

    rendering = asyncio.create_task(reply_list("numbers", range(5), slow))
    turns = 0
    while not rendering.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns >= 5
    assert body(rendering.result()) == {"numbers": [0, 1, 2, 3, 4]}


def test_answers_are_not_kept_by_caches() -> None:
    assert reply({}).headers["Cache-Control"] == "no-store"


def test_half_a_character_from_a_client_is_no_failure() -> None:
    assert json.loads(to_json({"name": "caf\udce9"})) == {"name": "caf?"}
