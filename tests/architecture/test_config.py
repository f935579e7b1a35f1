"""The files in config/: they load, and the one with all settings holds the defaults, each explained."""

import re
from pathlib import Path
from typing import Final

import pytest

from poolguard.settings.load import load
from poolguard.settings.model import Settings
from poolguard.settings.places import Document, read
from poolguard.settings.policies import LADDERS
from poolguard.settings.shape import leaves

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "config" / "poolguard.yaml"
RULES: Final = ROOT / "config" / "rules.yaml"
SETTINGS_FILES: Final = sorted([*(ROOT / "config").glob("*.yaml"), *(ROOT / "examples").rglob("poolguard*.yaml")])


@pytest.mark.parametrize("file", SETTINGS_FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_settings_file_loads_without_a_warning(file: Path) -> None:
    text = file.read_text()
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "x")
    assert load(file, environ).warnings == ()


def test_the_file_of_all_settings_holds_the_defaults() -> None:
    loaded = load(FILE, {})
    assert loaded.settings == Settings()
    assert list(loaded.settings.pools) == list(Settings().pools)
    assert loaded.hash == load(None, {}).hash


@pytest.fixture(scope="module")
def document() -> Document:
    # Variables are set, so that what is filled to nothing is not left out.
    return read(FILE.read_text(), {"DATABASE_URL": "x", "POOLGUARD_ADMIN_TOKEN": "x"})


def generic(path: tuple[str | int, ...]) -> str:
    steps = ["*" if isinstance(step, int) else step for step in path]
    if len(steps) > 1 and steps[0] in ("pools", "policies"):
        steps[1] = "*"
    return ".".join(steps)


def test_every_setting_stands_in_it_with_a_comment(document: Document) -> None:
    lines = FILE.read_text().splitlines()
    commented: set[str] = set()
    for path, place in document.keys.items():
        line, above = lines[place.line - 1], lines[place.line - 2]
        if " #" in line or above.lstrip().startswith("#"):
            commented.add(generic(path))
    missing = [
        leaf.path
        for leaf in leaves()
        if leaf.path not in commented and not in_a_comment(leaf.path, commented) and ".rules." not in leaf.path
    ]
    assert missing == []


def test_every_key_of_a_rule_stands_in_the_file_of_rules() -> None:
    keys = {generic(path) for path in read(RULES.read_text(), {}).keys}
    rules = [leaf.path for leaf in leaves() if ".rules." in leaf.path]
    assert [path for path in rules if path not in keys] == []


def in_a_comment(path: str, commented: set[str]) -> bool:
    """Whether a setting of something that is empty by default stands in a comment beside that thing.

    What a ladder's other steps mean is told above `policies`; so the step's name counts there.
    """
    section, _, key = path.rpartition(".")
    empty = (
        "auth.users",
        "routes",
        "pools.*.upstream",
        "pools.*.retry",
        "pools.*.lanes",
        "listen.clients.tls",
        "leases.elector",
    )
    comments = "\n".join(re.findall(r"#.*", FILE.read_text()))
    is_step = section.rpartition(".")[2] in LADDERS
    belongs = is_step and (section in commented)
    return (belongs or path.startswith(empty)) and re.search(rf"\b{key}\b", comments) is not None


def test_its_routes_in_comments_are_routes(tmp_path: Path) -> None:
    text = re.sub(r"^routes: \[\]\n", "", FILE.read_text(), flags=re.MULTILINE)
    text = re.sub(r"^# (routes:|  - \{match)", r"\1", text, flags=re.MULTILINE)
    (tmp_path / "f.yaml").write_text(text)
    assert len(load(tmp_path / "f.yaml", {}).settings.routes) == 3


def test_its_lanes_in_comments_are_lanes(tmp_path: Path) -> None:
    text = re.sub(r"^    lanes: \[\].*\n", "", FILE.read_text(), flags=re.MULTILINE)
    text = re.sub(
        r"^    # (lanes:|  - name: job-pop|    (?:match|at_once|max_waiting|wait|mode): )",
        r"    \1",
        text,
        flags=re.MULTILINE,
    )
    (tmp_path / "f.yaml").write_text(text)
    (lane,) = load(tmp_path / "f.yaml", {}).settings.pools["election"].lanes
    assert (lane.name, lane.at_once, lane.max_waiting, lane.wait) == ("job-pop", 4, 20, 10.0)
