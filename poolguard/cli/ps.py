"""`poolguard ps`: what holds servers right now, oldest first; or all sessions."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from poolguard.cli.control import Control, add_control
from poolguard.cli.exits import Exit
from poolguard.cli.tables import shortened, table
from poolguard.core.errors import PoolguardError
from poolguard.core.units import format_duration

NAME: Final = "ps"
HELP: Final = "List what holds servers of a running poolguard, oldest first; the id is what `kill` wants."

WATCH_SECONDS: Final = 1.0
_CLEAR: Final = "\x1b[H\x1b[2J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_control(parser)
    parser.add_argument("--pool", metavar="NAME", help="only of this pool")
    parser.add_argument("--sessions", action="store_true", help="all sessions, also those that hold nothing")
    parser.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, as the HTTP API has them")


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Exit:
    """Ask, and print."""
    control = Control(arguments, environ)
    key = "sessions" if arguments.sessions else "transactions"
    while True:
        found = [one for one in control.all(f"/v1/{key}", key) if arguments.pool in (None, one["pool"])]
        if not found and arguments.pool is not None:
            _check_pool(control, arguments.pool)
        if arguments.watch and sys.stdout.isatty():
            print(_CLEAR, end="")
        if arguments.json:
            for one in found:
                print(json.dumps(one))
        else:
            print(sessions_table(found) if arguments.sessions else transactions_table(found))
        if not arguments.watch:
            return Exit.OK
        sys.stdout.flush()
        time.sleep(WATCH_SECONDS)


def _check_pool(control: Control, pool: str) -> None:
    names = [one["name"] for one in control.get("/v1/pools")["pools"]]
    if pool not in names:
        raise PoolguardError(f"no pool {pool!r}", hint=f"There are: {', '.join(names)}.")


def transactions_table(found: list[dict[str, Any]]) -> str:
    """What holds servers, a line each; the statement as far as the terminal is wide."""
    if not found:
        return "No transaction holds a server."
    rows = [["ID", "POOL", "STATE", "FOR", "OPEN", "APPLICATION", "CLIENT", "BACKEND", "STATEMENT"]]
    rows += [
        [
            one["id"],
            one["pool"],
            _state(one),
            format_duration(one["state_seconds"]),
            format_duration(one["transaction_seconds"]),
            shortened(one["application_name"] or "-", 24),
            one["client_address"],
            str(one["backend_pid"]),
            one["statement"]["text"] if one["statement"] else "-",
        ]
        for one in found
    ]
    return _fitting(rows)


def sessions_table(found: list[dict[str, Any]]) -> str:
    """Sessions, a line each."""
    if not found:
        return "No client is connected."
    rows = [["SESSION", "POOL", "STATE", "FOR", "CONNECTED", "APPLICATION", "CLIENT", "USER", "TRANSACTION"]]
    rows += [
        [
            str(one["id"]),
            one["pool"] or "-",
            _state({**one, "pin": None}),
            format_duration(one["state_seconds"]),
            format_duration(one["connected_seconds"]),
            shortened(one["application_name"] or "-", 24),
            one["client_address"],
            shortened(one["user"] or "-", 24),
            one["transaction"] or "-",
        ]
        for one in found
    ]
    return _fitting(rows)


def _state(one: Mapping[str, Any]) -> str:
    """The state, with what explains it: a pin, or the lane that it waits in or is inside of."""
    why = "pinned" if one["pin"] else one.get("lane")
    return f"{one['state']} ({why})" if why else str(one["state"])


def _fitting(rows: list[list[str]]) -> str:
    width = shutil.get_terminal_size((160, 24)).columns
    taken = sum(max(len(row[column]) for row in rows) + 2 for column in range(len(rows[0]) - 1))
    return table([[*row[:-1], shortened(row[-1], max(20, width - taken))] for row in rows])
