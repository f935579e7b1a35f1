"""`poolguard demo`: the demonstration."""

import argparse
from collections.abc import Mapping
from typing import Final

from poolguard.cli.exits import Exit

NAME: Final = "demo"
HELP: Final = "Show leaked transactions, the guard and a lease at work on a private PostgreSQL, in under a minute."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments: there are none."""
    del parser


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Exit:
    """Run it; OK only if everything was seen."""
    del arguments, environ
    from poolguard.demo.show import main

    return Exit.OK if main() == 0 else Exit.PROBLEM
