"""`poolguard kill`: cancel, roll back or terminate one transaction, by hand."""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from poolguard.cli.control import Control, add_control, login_name
from poolguard.cli.exits import Exit

NAME: Final = "kill"
HELP: Final = "End one transaction of a running poolguard: its statement, the transaction, or the whole session."

_TOLD: Final = {
    "done": "done",
    "victim_moved": "nothing was done: it was over, or no longer in a state in which that makes sense",
    "nothing_runs": "nothing was done: no statement of it runs; --rollback ends a transaction that stands idle",
    "refused": "refused: a rollback needs a transaction that stands idle (use --cancel first, or --terminate); "
    "or another action is under way on it",
    "failed": "failed, it may have been ended all the same: look with `poolguard ps`",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_control(parser)
    parser.add_argument("id", metavar="ID", help="a transaction's id, as `ps` shows it: 42-7")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--cancel", dest="action", action="store_const", const="cancel", help="end the running statement")
    how.add_argument(
        "--rollback",
        dest="action",
        action="store_const",
        const="rollback",
        help="end the transaction, keep the session; only while no statement runs",
    )
    how.add_argument(
        "--terminate", dest="action", action="store_const", const="terminate", help="close the session and its server"
    )
    parser.add_argument("--actor", metavar="NAME", help="who does it, for the incident (default: your login name)")
    parser.add_argument("--json", action="store_true", help="print the incident")


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Exit:
    """Do it, and say what became of it: exit code 0 only if it was done."""
    control = Control(arguments, environ)
    body = {"actor": arguments.actor or login_name()}
    incident = control.post(f"/v1/transactions/{quote(arguments.id, safe='')}/{arguments.action}", body)
    outcome = str(incident["outcome"])
    if arguments.json:
        print(json.dumps(incident))
    done = outcome == "done"
    if outcome == "victim_moved" and arguments.action == "cancel":
        outcome = "nothing_runs"
    told = f"{arguments.action} of {arguments.id}: {_TOLD.get(outcome, outcome)} (incident {incident['id']})"
    if not (arguments.json and done):
        print(told, file=sys.stdout if done else sys.stderr)
    return Exit.OK if done else Exit.PROBLEM
