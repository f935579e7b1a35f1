"""Which test holds which wire case: ids are read from the tests' source, so that the list can't rot.

`python -m tests.support.wire_cases` (`make cases`) prints docs/wire-cases.md's ids with their tests.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "wire-cases.md"

_ID: Final = re.compile(r"(?<![A-Za-z0-9])([SQXPCKATLFBGD][1-9][0-9]?)(?![A-Za-z0-9])")
_TITLE: Final = re.compile(r"([SQXPCKATLFBGD][1-9][0-9]?) \S")
"""A script's name, or a parameter's: `Q1 empty queries`."""


def cases() -> dict[str, str]:
    """What holds, by id, as docs/wire-cases.md has it."""
    return dict(re.findall(r"^\| ([A-Z][0-9]+) \| (.+) \|$", PAGE.read_text(), flags=re.MULTILINE))


def held_by() -> dict[str, list[str]]:
    """Tests by id: those that name it in their (or their module's) name, docstring or parameters, and scripts that are named for it."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        where = path.relative_to(ROOT).as_posix()
        for name, ids in _claims(ast.parse(path.read_text())):
            for case in ids:
                found.setdefault(case, []).append(f"{where}: {name}")
    return found


def _claims(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    if any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:5] == "test_" for node in tree.body):
        yield "all of it", _ID.findall(ast.get_docstring(tree) or "")
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test_"):
                said = f"{' '.join(name.split('_')).upper()} {ast.get_docstring(node) or ''}"
                yield name, sorted(set(_ID.findall(said)))
            case ast.Dict(keys=keys):
                yield from (_title(key) for key in keys)
            case ast.keyword(arg="id", value=value):
                yield _title(value)
            case _:
                pass


def _title(node: ast.expr | None) -> tuple[str, list[str]]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and (named := _TITLE.match(node.value)):
        return repr(node.value), [named[1]]
    return "", []


def main() -> int:
    """Print the list; 1 if a case has no test."""
    held = held_by()
    for case, what in cases().items():
        print(f"{case}  {what}", *(f"      {test}" for test in held.get(case, ["no test"])), sep="\n")
    return int(not cases().keys() <= held.keys())


if __name__ == "__main__":
    sys.exit(main())
