"""`poolguard print-schema`: what a settings file may hold, and what a database needs for leases."""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Final

from poolguard.cli.exits import Exit
from poolguard.cli.sources import add_config, load_settings

NAME: Final = "print-schema"
HELP: Final = "Print the JSON Schema of the settings file, or with --sql what a DBA runs for leases."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--sql", action="store_true", help="print the DDL of the lease table")
    kind.add_argument("--markdown", action="store_true", help="print the table of all settings of docs/settings.md")
    add_config(parser)


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Exit:
    """Print the schema that was asked for. Only `--sql` looks at the settings, for `leases.schema`."""
    if arguments.sql:
        from poolguard.lease.schema import ddl

        print(ddl(load_settings(arguments.config, environ).settings.leases.schema))
    elif arguments.markdown:
        from poolguard.settings.reference import markdown

        print(markdown(), end="")
    else:
        from poolguard.settings.schema import json_schema

        json.dump(json_schema(), sys.stdout, indent=2)
        print()
    return Exit.OK
