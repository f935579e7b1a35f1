import os
import re
import subprocess
import sys
from collections.abc import Mapping

import pytest

from poolguard import __version__
from poolguard.cli import demo
from poolguard.cli import main as cli
from poolguard.cli.exits import Exit
from poolguard.core.errors import SettingsError


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"poolguard {__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["bogus"], ["run", "--bogus"], ["run", "extra"], ["run", "--obs"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments, {})
    assert ended.value.code == Exit.USAGE
    assert "usage: poolguard" in capsys.readouterr().err


@pytest.mark.parametrize("command", [command.NAME for command in cli.COMMANDS])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"], {})
    assert ended.value.code == 0
    assert f"usage: poolguard {command}" in capsys.readouterr().out


def test_the_help_names_all_commands_and_exit_codes() -> None:
    text = cli.build_parser().format_help()
    listed = re.findall(r"^    ([a-z][a-z-]*)\s", text, flags=re.MULTILINE)
    assert listed == [command.NAME for command in cli.COMMANDS]
    assert "exit codes: 0 done, 1 a problem" in text


def test_an_error_is_shown_without_a_stack_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def execute(arguments: object, environ: Mapping[str, str]) -> Exit:
        raise SettingsError("what is wrong", detail="why", hint="what to do")

    monkeypatch.setattr(demo, "execute", execute)
    assert cli.main(["demo"], {}) == Exit.PROBLEM
    assert capsys.readouterr().err == "what is wrong\nwhy\nwhat to do\n"


def test_ctrl_c_ends_a_command_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def execute(arguments: object, environ: Mapping[str, str]) -> Exit:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "execute", execute)
    assert cli.main(["demo"], {}) == Exit.INTERRUPTED
    assert capsys.readouterr() == ("", "")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "POOLGUARD", "DATABASE"))
    }
    return subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, text=True, check=False)


def test_it_also_runs_as_a_module() -> None:
    assert python("-m", "poolguard", "--version").stdout == f"poolguard {__version__}\n"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    code = (
        "import os, sys; from poolguard.cli.main import main; read, write = os.pipe(); os.close(read); "
        "os.dup2(write, 1); sys.exit(main(['print-schema'], {}))"
    )
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (Exit.PROBLEM, "")


def test_starting_imports_nothing_that_only_some_commands_need() -> None:
    heavy = "{'pydantic', 'yaml', 'aiohttp', 'psycopg', 'asyncio', 'http.client', 'prometheus_client', 'uvloop'}"
    done = python("-c", f"import sys, poolguard.cli.main; print(sorted({heavy} & sys.modules.keys()))")
    assert done.stdout == "[]\n", done.stderr
