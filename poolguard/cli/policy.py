"""`poolguard policy`: what rules say of a recorded snapshot, or of a live transaction, and why."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from poolguard.cli.control import Control, Refused, add_control
from poolguard.cli.exits import Exit
from poolguard.cli.sources import load_settings
from poolguard.core.errors import PoolguardError
from poolguard.core.units import format_duration

NAME: Final = "policy"
HELP: Final = "Say what the rules would do to a recorded snapshot, or to a live transaction, key by key."

SNAPSHOT_VERSION: Final = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    commands = parser.add_subparsers(dest="policy_command", metavar="COMMAND", required=True)

    def command(name: str, told: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=told, description=told, allow_abbrev=False)
        add_control(made)
        return made

    testing = command("test", "Judge a recorded snapshot by the policies of a settings file.")
    testing.add_argument("file", metavar="FILE", help="from `policy record` or GET /v1/transactions; -: standard input")
    testing.add_argument("--json", action="store_true", help="one JSON object a line")
    explaining = command("explain", "Explain what the policy says of a live transaction, and what comes next.")
    explaining.add_argument("id", metavar="ID", help="a transaction's id, as `ps` shows it: 42-7")
    explaining.add_argument("--json", action="store_true", help="as the HTTP API has it")
    command("record", "Print a snapshot of what holds servers now, as JSON; it holds no literals.")


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Exit:
    """Carry out the subcommand."""
    match arguments.policy_command:
        case "test":
            return _test(arguments, environ)
        case "explain":
            explanation = Control(arguments, environ).get(f"/v1/transactions/{quote(arguments.id, safe='')}/explain")
            print(json.dumps(explanation) if arguments.json else "\n".join(lines(explanation)))
            return Exit.OK
        case _:
            print(json.dumps(record(Control(arguments, environ))))
            return Exit.OK


def record(control: Control) -> dict[str, object]:
    """A snapshot of pools and transactions, with what their statements say."""
    transactions: list[Any] = []
    for one in control.all("/v1/transactions", "transactions"):
        try:
            transactions.append(control.get(f"/v1/transactions/{one['id']}"))
        except Refused:
            continue  # it is over by now
    return {
        "version": SNAPSHOT_VERSION,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "pools": control.get("/v1/pools")["pools"],
        "transactions": transactions,
    }


def _test(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Exit:
    from poolguard.guard.explain import explain
    from poolguard.guard.history import History
    from poolguard.guard.recorded import read_snapshot
    from poolguard.guard.rules import compile_policy

    settings = load_settings(arguments.config, environ).settings
    cases = read_snapshot(_json_of(arguments.file))
    rules = {name: compile_policy(pool.policy, settings.policies[pool.policy]) for name, pool in settings.pools.items()}
    if not cases:
        print("The snapshot holds no transaction: there is nothing to judge.", file=sys.stderr)
    strangers = 0
    for case in cases:
        policy = rules.get(case.transaction.pool)
        if policy is None:
            strangers += 1
            print(f"{case.transaction.id}: these settings have no pool {case.transaction.pool!r}", file=sys.stderr)
            continue
        explanation = explain(case, policy, History(), 0.0).as_json()
        print(json.dumps(explanation) if arguments.json else "\n".join(lines(explanation)))
    return Exit.PROBLEM if strangers else Exit.OK


def _json_of(file: str) -> object:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        return json.loads(text)
    except OSError as error:
        raise PoolguardError(f"can't read {file}: {error.strerror or type(error).__name__}") from None
    except ValueError:
        raise PoolguardError(f"{file} is not JSON") from None


def lines(explanation: Mapping[str, Any]) -> Iterator[str]:
    """An explanation for people."""
    now = explanation["verdict"] or "nothing"
    if explanation["exempt"]:
        now = f"nothing, exempt by {explanation['exempt']}"
    elif explanation["ended"]:
        now = "nothing, it was ended"
    yield (
        f"{explanation['transaction']}  pool {explanation['pool']}, {explanation['state']}, "
        f"policy {explanation['policy']}: {now}"
    )
    for rule in explanation["rules"]:
        matches = f"matches for {format_duration(rule['matched_seconds'])}" if rule["matches"] else "does not match"
        mode = ", only observes" if rule["mode"] == "observe" else ""
        spared = f", what ends it is spared by {rule['spared_by']}" if rule["spared_by"] else ""
        yield f"  {rule['rule']} {matches}{mode}{spared}"
        for key in rule["keys"]:
            yield f"    {'+' if key['holds'] else '-'} {key['key']}: {key['wanted']} (found {key['found']})"
        yield f"    {', '.join(_step(step) for step in rule['steps'])}"


def _step(step: Mapping[str, Any]) -> str:
    text = f"{step['action']} at {format_duration(step['at_seconds'])}"
    match step["state"]:
        case "ahead":
            return f"{text} in {format_duration(step['in_seconds'])}"
        case "no_match":
            return text
        case state:
            return f"{text}: {state.replace('_', ' ')}"
