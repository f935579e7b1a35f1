"""Lanes as they may be written."""

from pathlib import Path

import pytest

from poolguard.core.errors import SettingsError
from poolguard.settings.lanes import MOST_LANES, Lane, LaneMatch
from poolguard.settings.load import load
from poolguard.settings.model import Pool, PoolMode, Settings
from poolguard.settings.policies import PolicyMode


def written(folder: Path, lanes: str, more: str = "") -> Settings:
    (folder / "f.yaml").write_text(f"pools:\n  app: {{lanes: {lanes}{more}}}\n")
    return load(folder / "f.yaml", {}).settings


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    (lane,) = written(tmp_path, "[{name: pop, match: {statement: 'from jobs'}}]").pools["app"].lanes
    assert lane == Lane(name="pop", match=LaneMatch(statement="from jobs"))
    assert (lane.at_once, lane.max_waiting, lane.wait, lane.mode) == (5, 20, 10.0, PolicyMode.ENFORCE)


def test_one_fingerprint_is_a_list_of_one(tmp_path: Path) -> None:
    (lane,) = written(tmp_path, "[{name: pop, match: {fingerprint: 8f14e45fceea167a}}]").pools["app"].lanes
    assert lane.match.fingerprint == ("8f14e45fceea167a",)


@pytest.mark.parametrize(
    ("lanes", "more", "problem"),
    [
        ("[{name: a, match: {}}]", "", "match is empty"),
        ("[{name: a}]", "", "match"),
        ("[{name: a, match: {statement: '('}}]", "", "is no regular expression"),
        ("[{name: a, match: {fingerprint: abc}}]", "", "16 hexadecimal digits"),
        ("[{name: a, match: {statement: x}, at_once: 0}]", "", "at_once"),
        ("[{name: a, match: {statement: x}, wait: 5}]", "", "is not a duration"),
        ("[{name: a, match: {statement: x}, width: 5}]", "", "width"),
        ("[{name: a, match: {statement: x}}, {name: a, match: {statement: y}}]", "", "a is the name of two lanes"),
        ("[{name: a, match: {statement: x}}]", ", mode: session", "lanes need mode transaction"),
    ],
)
def test_what_can_not_be_is_told(tmp_path: Path, lanes: str, more: str, problem: str) -> None:
    with pytest.raises(SettingsError) as raised:
        written(tmp_path, lanes, more)
    assert problem in str(raised.value)
    assert "f.yaml:2" in str(raised.value)


def test_a_pool_has_only_so_many() -> None:
    lanes = tuple(Lane(name=f"a{n}", match=LaneMatch(statement="x")) for n in range(MOST_LANES))
    assert len(Pool(lanes=lanes).lanes) == MOST_LANES
    with pytest.raises(ValueError, match="mode transaction"):
        Pool(lanes=lanes, mode=PoolMode.SESSION)
