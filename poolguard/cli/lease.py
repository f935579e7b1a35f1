"""`poolguard lease`: look at leases, end them, and run a command for as long as one is held."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from poolguard.cli import lease_run
from poolguard.cli.control import TOKEN_VARIABLE, URL_VARIABLE, login_name
from poolguard.cli.exits import Exit
from poolguard.core.errors import LeaseHeld, LeaseNotFound, NotAllowed
from poolguard.core.units import format_duration

if TYPE_CHECKING:
    from poolguard.client import LeaseClient

NAME: Final = "lease"
HELP: Final = "Look at leases, end them, and run a command for as long as one is held."

_EPILOG: Final = f"""\
exit codes: 0 done (get: held), 1 a problem, 2 called wrongly, 3 not held;
            run: the command's own status, 126 or 127 if it can't be started, 3 without the lease
control listener: --url URL, else ${URL_VARIABLE}, else http://127.0.0.1:6433
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog, parser.formatter_class = _EPILOG, argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="lease_command", metavar="COMMAND", required=True)

    def command(name: str, told: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, help=told, description=told, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )  # fmt: skip
        made.add_argument("--url", metavar="URL", help="the control listener, as http://127.0.0.1:6433")
        return made

    listing = command("ls", "List leases by name.")
    listing.add_argument("--prefix", default="", metavar="TEXT", help="only names that begin so")
    listing.add_argument("--json", action="store_true", help="one JSON object a line, as the HTTP API has them")

    getting = command("get", "Show one lease: exit code 0 if it is held, 3 if it is free.")
    getting.add_argument("name", metavar="NAME")
    getting.add_argument("--json", action="store_true", help="as the HTTP API has it")

    releasing = command("release", "Give back a term by its token, or end whatever term runs by --force.")
    releasing.add_argument("name", metavar="NAME")
    which = releasing.add_mutually_exclusive_group(required=True)
    which.add_argument("--token", type=int, metavar="N", help="the term's token, as acquire answered it")
    which.add_argument("--force", action="store_true", help=f"needs the admin token in ${TOKEN_VARIABLE}; an incident")
    releasing.add_argument("--holder", metavar="TEXT", help="holderIdentity of the term (with --token)")
    releasing.add_argument("--reason", metavar="TEXT", help="why, for the incident (with --force)")
    releasing.add_argument("--actor", metavar="NAME", help="who, for the incident (default: your login name)")

    stepping = command("step-down", "Ask whoever leads to give the lease back.")
    stepping.add_argument("name", metavar="NAME")
    stepping.add_argument(
        "--hold-off",
        type=lease_run.duration,
        default=None,
        metavar="TIME",
        help="for how long it then does not follow itself",
    )
    stepping.add_argument("--prefer", metavar="TEXT", help="holderIdentity that alone may follow meanwhile")

    lease_run.add_arguments(command("run", lease_run.HELP))


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Carry out the subcommand."""
    from poolguard.client import DEFAULT_URL, LeaseClient

    url = arguments.url or environ.get(URL_VARIABLE) or DEFAULT_URL
    with LeaseClient(url, admin_token=environ.get(TOKEN_VARIABLE, "")) as client:
        match arguments.lease_command:
            case "ls":
                return _list(client, prefix=arguments.prefix, as_json=arguments.json)
            case "get":
                return _get(client, arguments.name, as_json=arguments.json)
            case "release":
                return _release(client, arguments)
            case "step-down":
                return _step_down(client, arguments)
            case _:
                return lease_run.run(client, arguments, environ)


def _list(client: "LeaseClient", *, prefix: str, as_json: bool) -> Exit:
    found = list(client.list(prefix=prefix))
    if as_json:
        for lease in found:
            print(json.dumps(lease))
    else:
        print(table(found) if found else "There is no lease.")
    return Exit.OK


def _get(client: "LeaseClient", name: str, *, as_json: bool) -> Exit:
    lease = client.get(name)
    if lease is None:
        print(f"nobody has ever held lease {name!r}", file=sys.stderr)
        return Exit.NOT_HELD
    print(json.dumps(lease) if as_json else table([lease]))
    return Exit.OK if is_held(lease) else Exit.NOT_HELD


def _release(client: "LeaseClient", arguments: argparse.Namespace) -> Exit:
    from poolguard.client import Term

    try:
        if arguments.force:
            client.force_release(arguments.name, actor=arguments.actor or login_name(), reason=arguments.reason or None)
        elif not arguments.holder:
            print("--token needs --holder: a term has both", file=sys.stderr)
            return Exit.USAGE
        else:
            client.release(
                Term(
                    name=arguments.name,
                    holder=arguments.holder,
                    token=arguments.token,
                    ttl_seconds=0.0,
                    trusted_until=0.0,
                )
            )
    except (LeaseHeld, LeaseNotFound) as error:
        print(error.message, file=sys.stderr)
        return Exit.NOT_HELD
    except NotAllowed as error:
        raise NotAllowed(error.message, hint=f"{error.hint} This command takes it from ${TOKEN_VARIABLE}.") from None
    return Exit.OK


def _step_down(client: "LeaseClient", arguments: argparse.Namespace) -> Exit:
    try:
        client.step_down(arguments.name, hold_off_seconds=arguments.hold_off, preferred=arguments.prefer)
    except (LeaseHeld, LeaseNotFound) as error:
        print(error.message, file=sys.stderr)
        return Exit.NOT_HELD
    return Exit.OK


def is_held(lease: Mapping[str, Any]) -> bool:
    """Whether somebody's term of it runs."""
    return lease["holderIdentity"] is not None and lease["validForMs"] > 0


def table(leases: Sequence[Mapping[str, Any]]) -> str:
    """Leases for people: one a line, in columns."""
    rows = [("NAME", "HOLDER", "TOKEN", "ENDS IN", "TERMS")]
    for lease in leases:
        held = is_held(lease)
        rows.append(
            (
                lease["name"],
                lease["holderIdentity"] if held else "-",
                str(lease["token"]),
                format_duration(lease["validForMs"] / 1000) if held else "free",
                str(lease["leaseTransitions"]),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
