import asyncio
import sys

import pytest
import uvloop

from poolguard.daemon.main import loop_factory


def test_the_loop_is_uvloops() -> None:
    make = loop_factory()
    assert make is not None
    loop = make()
    try:
        assert isinstance(loop, uvloop.Loop)
    finally:
        loop.close()


def test_where_uvloop_can_not_be_had_the_loop_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        assert type(runner.get_loop()).__module__.startswith("asyncio.")
