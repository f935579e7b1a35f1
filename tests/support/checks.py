"""Which test holds which check of the guard: read from the tests' source, as for the wire cases.

`python -m tests.support.checks` (a part of `make cases`) prints docs/checks.md's numbers with their tests.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "checks.md"

_NUMBERS: Final = re.compile(r"\bchecks? (\d+(?:(?:, | and )\d+)*)\b", re.IGNORECASE)
"""`check 5`, `Checks 4 and 5`."""


def checks() -> dict[int, str]:
    """What holds, by number, as docs/checks.md has it."""
    rows: list[tuple[str, str]] = re.findall(r"^\| ([0-9]+) \| (.+) \|$", PAGE.read_text(), flags=re.MULTILINE)
    return {int(number): what for number, what in rows}


def held_by() -> dict[int, list[str]]:
    """Tests by the number of the check that their (or their module's) docstring names."""
    found: dict[int, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        where = path.relative_to(ROOT).as_posix()
        for name, docstring in _tests(ast.parse(path.read_text())):
            for number in numbers(docstring):
                found.setdefault(number, []).append(f"{where}: {name}")
    return found


def numbers(docstring: str) -> set[int]:
    """The checks that a docstring names."""
    return {int(number) for listed in _NUMBERS.findall(docstring) for number in re.findall(r"\d+", listed)}


def _tests(tree: ast.Module) -> Iterator[tuple[str, str]]:
    yield "all of it", ast.get_docstring(tree) or ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name, ast.get_docstring(node) or ""


def main() -> int:
    """Print the list; 1 if a check has no test."""
    held = held_by()
    for number, what in checks().items():
        print(f"check {number}  {what}", *(f"      {test}" for test in held.get(number, ["no test"])), sep="\n")
    return int(not checks().keys() <= held.keys())


if __name__ == "__main__":
    sys.exit(main())
