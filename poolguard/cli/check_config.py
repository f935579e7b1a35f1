"""`poolguard check-config`: every problem of a settings file, or what it amounts to."""

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from poolguard.cli.exits import Exit
from poolguard.cli.sources import CONFIG_VARIABLE, settings_file

if TYPE_CHECKING:
    from poolguard.settings.loaded import Loaded

NAME: Final = "check-config"
HELP: Final = "Check settings as run would read them, and show every problem at once."

STANDARD_INPUT: Final = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help=f"settings file, - for standard input (default: ${CONFIG_VARIABLE}, else the environment alone)",
    )


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Exit:
    """Print OK with a summary, or let the problems out as an error."""
    loaded = _load(settings_file(arguments.file, environ), environ)
    from poolguard.cli.summary import summary

    for line in summary(loaded, environ):
        print(line)
    for warning in loaded.warnings:
        print(f"warning: {warning}")
    return Exit.OK


def _load(file: str | None, environ: Mapping[str, str]) -> "Loaded":
    from pathlib import Path

    from poolguard.settings.load import load, parse
    from poolguard.settings.secret_files import file_reader

    if file != STANDARD_INPUT:
        return load(file, environ)
    text = sys.stdin.read()
    return parse(text, "standard input", environ, read_secret=file_reader(Path()), folder=Path.cwd())
