"""How the servers of a pool are opened."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest

from poolguard.relay import opening
from poolguard.upstream.target import Target
from tests.support.relaying import House


@pytest.mark.parametrize(
    ("settings", "listening", "expected"),
    [
        ({}, False, {"application_name": "poolguard app"}),
        ({}, True, {"application_name": "poolguard app listens"}),
        ({"application_name": "shop", "role": "r"}, True, {"application_name": "shop listens", "role": "r"}),
    ],
)
async def test_a_connection_says_whose_it_is(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], listening: bool, expected: dict[str, str]
) -> None:
    async def opened(target: Target, *, parameters: Mapping[str, str]) -> Mapping[str, str]:
        return parameters

    monkeypatch.setattr(opening, "open_link", opened)
    house = House()
    house.pool.settings = replace(house.pool.settings, **settings)  # type: ignore[arg-type]
    got = await opening.open_for(house.pool, cast("Target", None), listening=listening)
    assert cast("Mapping[str, str]", got) == expected
    await house.close()
