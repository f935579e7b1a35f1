"""The entry point: arguments to a command."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from poolguard import __version__
from poolguard.cli import check_config, demo, health, kill, lease, policy, print_schema, ps, run
from poolguard.cli.exits import Exit
from poolguard.core.errors import PoolguardError

COMMANDS: Final = (run, check_config, print_schema, demo, health, ps, kill, policy, lease)
"""Modules with NAME, HELP, add_arguments(parser) and execute(arguments, environ) -> Exit."""

_EPILOG: Final = """\
exit codes: 0 done, 1 a problem (standard error says which), 2 called wrongly, 3 no lease, 130 interrupted
settings:   --config FILE, else the file that POOLGUARD_CONFIG names, else defaults with DATABASE_URL or PG*
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="poolguard",
        description="A sidecar between an application and PostgreSQL: separate pools, a guard, leases.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"poolguard {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        of_command = commands.add_parser(command.NAME, help=command.HELP, description=command.HELP, allow_abbrev=False)
        command.add_arguments(of_command)
        of_command.set_defaults(execute=command.execute)
    return parser


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run one command and return its exit code. Wrong usage raises SystemExit(2), as argparse does."""
    parsed = build_parser().parse_args(arguments)
    try:
        code: int = parsed.execute(parsed, os.environ if environ is None else environ)
        sys.stdout.flush()
    except PoolguardError as error:
        for text in (error.message, error.detail, error.hint):
            if text:
                print(text, file=sys.stderr)
        return Exit.PROBLEM
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough (`poolguard print-schema | head`). Python would complain once more
        # when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.PROBLEM
    return code
