"""What must be true at the end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from tests.relay_soak.marks import Told


def problems(told: Sequence[Told], dsn: str, pools: Mapping[str, Mapping[str, Any]], sessions: int) -> list[str]:
    """Everything that is not as it must be."""
    found = [f"WRONG {wrong}" for every in told for wrong in every.wrong]
    found += [f"{every.driver} has done nothing" for every in told if not every.done]
    found += _balances(pools, sessions)
    with psycopg.connect(dsn, autocommit=True) as admin:
        rows = Counter(row[0] for row in admin.execute("select id from done"))
    committed = {row for every in told for row in every.committed}
    unknown = {row for every in told for row in every.unknown}
    found += [f"row {row} was committed, and is lost" for row in sorted(committed - rows.keys())]
    found += [f"row {row} is there, and was never committed" for row in sorted(rows.keys() - committed - unknown)]
    found += [f"row {row} is there {count} times" for row, count in sorted(rows.items()) if count > 1]
    return found


def _balances(pools: Mapping[str, Mapping[str, Any]], sessions: int) -> list[str]:
    open_accounts = [
        f"pool {name}: {place} is {pool[place]}"
        for name, pool in pools.items()
        for place in ("held", "waiting", "opening", "sessions", "pinned")
        if pool[place]
    ]
    return [*open_accounts, *([f"{sessions} sessions are left"] if sessions else [])]


def report(told: Sequence[Told], made: Mapping[str, int], seconds: float, found: Sequence[str]) -> str:
    """As text."""
    lines = [f"{seconds:.0f} s; trouble: " + ", ".join(f"{count} {what}" for what, count in made.items())]
    for every in told:
        acts = sum(every.done.values())
        errors = ", ".join(f"{code} {count}" for code, count in every.excused.most_common())
        lines.append(
            f"{every.driver:9} {acts:8} acts, {len(every.committed):6} commits, {len(every.unknown):3} of unknown outcome, "
            f"{every.kills:4} broken off, {len(every.wrong)} wrong replies; errors: {errors or 'none'}"
        )
    lines += [f"- {problem}" for problem in found[:50]]
    lines.append(
        "nothing lost, nothing twice, no wrong reply, accounts balanced" if not found else f"{len(found)} problems"
    )
    return "\n".join(lines)
