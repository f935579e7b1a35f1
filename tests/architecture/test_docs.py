"""docs/: what is generated is current, what is named exists, and nothing points into the void."""

import re
from pathlib import Path
from typing import Final

import pytest

from poolguard.cli.main import COMMANDS
from poolguard.settings.load import parse
from poolguard.settings.problems import SettingsProblems
from poolguard.settings.reference import markdown
from poolguard.settings.shape import leaves

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SETTINGS: Final = ROOT / "docs" / "settings.md"
MARK: Final = "<!-- settings: printed by `poolguard print-schema --markdown` -->\n"


def test_the_table_of_settings_is_current() -> None:
    text = SETTINGS.read_text()
    assert text.partition(MARK)[2] == markdown(), "replace it by what `poolguard print-schema --markdown` prints"


def test_every_setting_is_in_the_docs() -> None:
    text = SETTINGS.read_text()
    assert [leaf.path for leaf in leaves() if f"`{leaf.path}`" not in text] == []


def test_the_problems_that_the_docs_show_are_the_ones_that_come() -> None:
    shown = re.findall(r"^poolguard\.yaml:\d+:\d+: (.*)$", SETTINGS.read_text(), flags=re.MULTILINE)
    with pytest.raises(SettingsProblems) as refused:
        parse("pools: {app: {sise: 3, wait_timeout: 30}, jobs: {}}\nroutes: [{match: {user: a}, pool: job}]", "f", {})
    assert shown == [line.split(": ", 1)[1] for line in refused.value.message.splitlines()]


def fenced(page: Path) -> str:
    """What stands between the fences of a page."""
    return "\n".join(page.read_text().split("\n```")[1::2])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_pages_show_exist(page: Path) -> None:
    known = {command.NAME for command in COMMANDS}
    shown = re.findall(r"(?:`|\$ |python -m )poolguard ([a-z]+(?:-[a-z]+)*)\b", page.read_text())
    shown += re.findall(r"^poolguard ([a-z-]+)", fenced(page), flags=re.MULTILINE)
    assert set(shown) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_that_pages_show_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    shown = re.findall(r"`make ([a-z-]+)\b", page.read_text())
    shown += re.findall(r"^(?:\$ )?make ([a-z-]+)\b", fenced(page), flags=re.MULTILINE)
    assert set(shown) <= targets
