import sys
from types import ModuleType

import pytest

from poolguard.cli.main import main


@pytest.mark.parametrize(("result", "code"), [(0, 0), (1, 1), (7, 1)])
def test_the_exit_code_tells_whether_everything_was_seen(
    result: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = ModuleType("poolguard.demo.show")
    show.main = lambda: result  # type: ignore[attr-defined]  # a stand-in: the real one takes most of a minute
    monkeypatch.setitem(sys.modules, "poolguard.demo.show", show)
    assert main(["demo"], {}) == code
