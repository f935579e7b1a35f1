"""The shape of the tree: small modules, each with its tests, each named by its package."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "poolguard"
MODULES: Final = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
PACKAGES: Final = sorted({path.parent for path in MODULES if path.parent != Path()})

MOST_LINES: Final = 400

WITHOUT_TESTS: Final = {
    "__main__.py": "one call; tests/unit/cli/test_main.py runs it",
    "aio/service.py": "a protocol",
    "console/sources.py": "a record and protocols",
    "core/clock.py": "a protocol",
    "daemon/house.py": "wiring; tests/integration/daemon run all of it",
    "guard/locks/queries.py": "SQL; tests/integration/guard/locks run every statement",
    "lease/access.py": "tests/unit/lease/test_manager.py goes through it with every request",
    "lease/counters.py": "attributes; tests/unit/metrics/test_lease_readings.py reads them",
    "lease/line.py": "connections; tests/integration/lease break and mend them",
    "lease/setup.py": "tests/integration/lease/test_store.py and test_fence.py take away what it finds and creates",
    "lease/statements.py": "SQL; tests/integration/lease run every statement",
    "lease/wording.py": "texts; tests/unit/lease/test_manager.py and tests/unit/web/test_leases.py compare them",
    "ledger/hands.py": "a protocol",
    "metrics/reading.py": "a record",
    "metrics/sources.py": "records",
    "pool/snapshot.py": "a record; tests of pool compare whole snapshots",
    "relay/guests.py": "tests/unit/relay/test_server.py and tests/property/relay are their guests",
    "settings/loaded.py": "a record",
    "settings/reader.py": "tests/unit/settings/test_apart.py runs it",
    "settings/reference.py": "tests/architecture/test_docs.py compares it with docs/settings.md",
    "web/lease_operations.py": "a table; tests/unit/web/test_openapi.py compares it with the handlers",
    "web/sources.py": "records and a protocol",
}
"""Modules that have no test file of their name, and why that is right."""


def has_tests(module: Path) -> bool:
    """A test file of the module's name in the mirrored folder of some tier; `test_NAME_more.py` counts too."""
    return any(
        re.fullmatch(rf"test_{re.escape(module.stem)}(_\w+)?", path.stem)
        for tier in ("unit", "property", "component", "integration")
        for path in (ROOT / "tests" / tier / module.parent).glob("test_*.py")
    )


@pytest.mark.parametrize("module", [m for m in MODULES if m.name != "__init__.py"], ids=str)
def test_every_module_has_tests_of_its_name_or_a_reason(module: Path) -> None:
    assert has_tests(module) != (module.as_posix() in WITHOUT_TESTS)


def test_reasons_are_for_modules_that_exist() -> None:
    assert WITHOUT_TESTS.keys() <= {module.as_posix() for module in MODULES}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules_are_small(module: Path) -> None:
    lines = (PACKAGE / module).read_text().count("\n")
    assert lines <= MOST_LINES, f"{lines} lines: what is it hiding?"


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_every_package_lists_its_modules(package: Path) -> None:
    text = (PACKAGE / package / "__init__.py").read_text()
    assert text.startswith('"""')
    listed = set(re.findall(r"^- `(\w+)`", text, flags=re.MULTILINE))
    there = {path.stem for path in MODULES if path.parent == package} - {"__init__"}
    assert listed == there


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_says_what_it_is(module: Path) -> None:
    assert (PACKAGE / module).read_text().startswith(('"""', 'r"""'))


def test_test_modules_mirror_packages_that_exist() -> None:
    unit = ROOT / "tests" / "unit"
    beside = {"bench", "soak", "support"}
    folders = {path.relative_to(unit) for path in unit.iterdir() if any(path.glob("test_*.py"))}
    assert folders - {Path(name) for name in beside} <= set(PACKAGES)
