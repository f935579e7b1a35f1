"""How a program is built and started in each language; what is missing is said, with how to get it.

Sources are built below build/interop, once for all tests and again when they have changed; only one at a time.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Protocol

import pytest

HERE: Final = Path(__file__).parent
BUILD: Final = HERE.parents[1] / "build" / "interop"
BUILD_SECONDS: Final = 600

PGJDBC: Final = "42.7.8"


class Toolchain(Protocol):
    """One language."""

    @property
    def language(self) -> str:
        """Its name: the folder of its programs."""

    def command(self, program: str) -> Sequence[str]:
        """Build what is needed; the command that starts *program*. Skips the test where the language is missing."""


@dataclass(frozen=True, slots=True)
class Python:
    """This interpreter; the drivers are in the extra `interop`."""

    language: str = "python"

    def command(self, program: str) -> Sequence[str]:
        missing = [name for name in ("django", "pg8000", "psycopg2", "sqlalchemy") if find_spec(name) is None]
        if missing:
            pytest.skip(f"{', '.join(missing)} missing: pip install -e '.[interop]'")
        return [sys.executable, "-X", "dev", "-W", "ignore", str(HERE / "python" / program)]


@dataclass(frozen=True, slots=True)
class Go:
    """Modules as go.sum pins them, from where `go env GOPROXY` says."""

    language: str = "go"

    def command(self, program: str) -> Sequence[str]:
        need("go", "Go 1.26, or 1.21 and newer, which fetches it: https://go.dev/dl")
        with built(self.language) as folder:
            if folder.stale():
                folder.run("go", "build", "-o", str(folder.place / "bin") + "/", "./...", cwd=HERE / "go")
                folder.done()
        return [str(folder.place / "bin" / program)]


@dataclass(frozen=True, slots=True)
class Node:
    """Packages as package-lock.json pins them."""

    language: str = "node"

    def command(self, program: str) -> Sequence[str]:
        need("node", "Node.js 20 or newer: https://nodejs.org, or apt-get install nodejs npm")
        need("npm", "npm: apt-get install npm")
        with built(self.language) as folder:
            if folder.stale():
                shutil.copytree(HERE / "node", folder.place, dirs_exist_ok=True)
                folder.run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder.place)
                # `generate` needs no schema engine, but looks for one and would download it.
                folder.run("npx", "prisma", "generate", cwd=folder.place, PRISMA_SCHEMA_ENGINE_BINARY="/bin/true")
                folder.done()
        return ["node", str(folder.place / program)]


@dataclass(frozen=True, slots=True)
class Php:
    """The interpreter's own PDO."""

    language: str = "php"

    def command(self, program: str) -> Sequence[str]:
        need("php", "PHP with pdo_pgsql: apt-get install php-cli php-pgsql")
        if "pdo_pgsql" not in modules_of_php():
            pytest.skip("PHP has no pdo_pgsql: apt-get install php-pgsql")
        return ["php", "-d", "display_errors=stderr", str(HERE / "php" / program)]


@dataclass(frozen=True, slots=True)
class Laravel:
    """The framework as Debian has it, on the same interpreter."""

    language: str = "php"

    def command(self, program: str) -> Sequence[str]:
        command = Php().command(program)
        if not has_laravel():
            pytest.skip("no Laravel: apt-get install php-illuminate-queue php-illuminate-events")
        # Debian's version is older than its PHP, which has deprecated things since.
        return [*command[:-1], "-d", "error_reporting=E_ALL & ~E_DEPRECATED", command[-1]]


@dataclass(frozen=True, slots=True)
class Java:
    """pgjdbc's jar from Maven Central."""

    language: str = "java"

    def command(self, program: str) -> Sequence[str]:
        need("javac", "a JDK, 17 or newer: apt-get install default-jdk-headless")
        need("mvn", "Maven: apt-get install maven")
        with built(self.language) as folder:
            jar = folder.place / f"postgresql-{PGJDBC}.jar"
            if folder.stale():
                artifact = f"-Dartifact=org.postgresql:postgresql:{PGJDBC}"
                folder.run("mvn", "-q", "-B", "dependency:copy", artifact, f"-DoutputDirectory={folder.place}")
                folder.run("javac", "-cp", str(jar), "-d", str(folder.place), *map(str, folder.sources))
                folder.done()
        return ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{folder.place}:{jar}", program]


@cache
def modules_of_php() -> frozenset[str]:
    """What `php -m` lists."""
    return frozenset(subprocess.run(["php", "-m"], capture_output=True, text=True, check=True).stdout.split())


@cache
def has_laravel() -> bool:
    """Whether PHP finds the framework on its include_path."""
    look = "exit((int) !stream_resolve_include_path('Illuminate/Queue/autoload.php'));"
    return subprocess.run(["php", "-r", look], check=False).returncode == 0


def need(program: str, how_to_get: str) -> None:
    """Skip the test where *program* is not on PATH."""
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on PATH; {how_to_get}")


class BuildFolder:
    """Where one language's programs are built; knows from which sources."""

    def __init__(self, language: str) -> None:
        self.place: Final = BUILD / language
        self.sources: Final = sorted(path for path in (HERE / language).rglob("*") if path.is_file())
        self._stamp: Final = self.place / ".built-from"

    def _digest(self) -> str:
        whole = hashlib.sha256(PGJDBC.encode())
        for source in self.sources:
            whole.update(str(source.relative_to(HERE)).encode() + b"\0" + source.read_bytes())
        return whole.hexdigest()

    def stale(self) -> bool:
        """Whether the sources are others than those that were built last."""
        return not self._stamp.exists() or self._stamp.read_text() != self._digest()

    def done(self) -> None:
        """Note that these sources were built."""
        self._stamp.write_text(self._digest())

    def run(self, *command: str, cwd: Path | None = None, **environ: str) -> None:
        """Run one step; fails the test with its output."""
        step = subprocess.run(
            command, cwd=cwd, env={**os.environ, **environ}, capture_output=True, text=True, timeout=BUILD_SECONDS
        )
        if step.returncode:
            pytest.fail(
                f"{' '.join(command)}: exit code {step.returncode}\n{step.stdout}\n{step.stderr}", pytrace=False
            )


@contextmanager
def built(language: str) -> Iterator[BuildFolder]:
    """The language's build folder, for nobody else meanwhile."""
    folder = BuildFolder(language)
    folder.place.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{language}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
