"""docs/drivers.md: every driver that is tried is listed, in the version that is pinned; and the pins hold no address."""

import json
import re
from pathlib import Path
from typing import Any, Final

from tests.interop.drivers import DRIVERS
from tests.interop.toolchains import PGJDBC

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "drivers.md"
NODE: Final = ROOT / "tests" / "interop" / "node"
GO: Final = ROOT / "tests" / "interop" / "go" / "go.mod"


def versions() -> dict[str, str]:
    """The table's first two columns."""
    return dict(re.findall(r"^\| (\S+) \| ([0-9.]+) \| ", PAGE.read_text(), flags=re.MULTILINE))


def test_the_page_lists_the_drivers_that_are_tried() -> None:
    assert list(versions()) == [driver.name for driver in DRIVERS]


def test_the_page_names_the_versions_that_are_pinned() -> None:
    packages: dict[str, str] = json.loads((NODE / "package.json").read_text())["dependencies"]
    modules = dict(re.findall(r"^\t(\S+) v(\S+)$", GO.read_text(), flags=re.MULTILINE))
    pinned = {
        "pgx": modules["github.com/jackc/pgx/v5"],
        "lib-pq": modules["github.com/lib/pq"],
        "River": modules["github.com/riverqueue/river"],
        "node-postgres": packages["pg"],
        "postgres.js": packages["postgres"],
        "Prisma": packages["@prisma/client"],
        "pgjdbc": PGJDBC,
    }
    assert pinned.items() <= versions().items()
    assert packages["@prisma/client"] == packages["@prisma/adapter-pg"] == packages["prisma"]


def test_the_lock_of_node_packages_pins_contents_and_names_no_registry() -> None:
    locked: dict[str, Any] = json.loads((NODE / "package-lock.json").read_text())["packages"]
    assert [name for name, package in locked.items() if name and "integrity" not in package] == []
    assert [name for name, package in locked.items() if "resolved" in package] == []
