"""examples/leases: leader election in other languages, with nothing but their HTTP library, against a real daemon."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.sidecars import Sidecar

EXAMPLES = Path(__file__).parents[3] / "examples" / "leases"
LANGUAGES = {"go": "https://go.dev/dl", "node": "apt-get install nodejs", "php": "apt-get install php-cli"}


def program(language: str) -> str:
    """Where the language is; skips the test, and says how to get it, where it is not."""
    found = shutil.which(language)
    if found is None:
        pytest.skip(f"no {language} in PATH: {LANGUAGES[language]}")
    return found


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """How each is run; Go's is built when it is asked for."""
    built = tmp_path_factory.mktemp("go") / "leader"
    return {
        "go": [str(built)],
        "node": ["node", str(EXAMPLES / "leader.mjs")],
        "php": ["php", str(EXAMPLES / "leader.php")],
    }


@contextmanager
def running(command: list[str], sidecar: Sidecar, name: str, holder: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*command, name, holder],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "POOLGUARD_URL": sidecar.url},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.timeout(240)  # a first build of Go's standard library
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_example_leads_loses_stands_again_and_gives_back(
    sidecar: Sidecar, commands: dict[str, list[str]], language: str
) -> None:
    found = program(language)
    command = commands[language]
    if language == "go" and not Path(command[0]).exists():
        subprocess.run([found, "build", "-o", command[0], str(EXAMPLES / "leader.go")], check=True)
    name = f"example-{language}"
    with running(command, sidecar, name, "one") as one:
        word, first = line(one).split()
        assert word == "leading"
        assert sidecar.holder_of(name) == "one"

        sidecar.force(name)
        assert line(one) == "lost"
        word, second = line(one).split()
        assert word == "leading"
        assert int(second) > int(first)

        with running(command, sidecar, name, "two") as two:
            one.send_signal(signal.SIGTERM)
            assert one.wait(30) == 0
            word, third = line(two).split()
            assert word == "leading"
            assert int(third) > int(second)
            two.send_signal(signal.SIGTERM)
            assert two.wait(30) == 0
    assert sidecar.holder_of(name) is None
