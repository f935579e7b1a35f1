"""What the bench found, as a table for people and as JSON for machines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from bench.contenders import DIRECT, PGBOUNCER, POOLGUARD
from bench.figures import Ratio, Result, ratio
from bench.leases import Renewals
from bench.memory import Memory

FORMAT: Final = 2
"""Of the JSON; grows when a field changes its meaning."""

HEAD: Final = (
    "workload",
    "direct tps",
    "PgBouncer tps",
    "poolguard tps",
    "tps ratio",
    "p50 ratio",
    "p99 ratio",
    "p50 ms (direct, PgBouncer, poolguard)",
    "p99 ms (direct, PgBouncer, poolguard)",
    "CPU µs/tx (PgBouncer, poolguard)",
)
"""A ratio is poolguard's figure divided by PgBouncer's in the same round: the median, and of tps the quartiles."""


@dataclass(slots=True, kw_only=True)
class Findings:
    """Everything that one run of the bench learnt. *results* goes by workload, then contender."""

    machine: Mapping[str, Any]
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    results: dict[str, dict[str, Result]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    """By workload: the rows in each transaction, where their number is the figure."""
    memory: dict[str, Memory] = field(default_factory=dict)
    leases: dict[str, Renewals] = field(default_factory=dict)
    balances_agree: bool | None = None
    notes: list[str] = field(default_factory=list)


def ratios(results: Mapping[str, Result]) -> dict[str, Ratio | None]:
    """poolguard's figures divided by PgBouncer's: of throughput more is better, of the others less."""
    ours, theirs = results.get(POOLGUARD), results.get(PGBOUNCER)
    if ours is None or theirs is None:
        return dict.fromkeys(("tps", "p50", "p99", "cpu"))
    both = (ours.rounds, theirs.rounds)
    return {
        "tps": ratio(*([r.tps for r in rounds] for rounds in both)),
        "p50": ratio(*([r.p50_ms for r in rounds] for rounds in both)),
        "p99": ratio(*([r.p99_ms for r in rounds] for rounds in both)),
        "cpu": ratio(*([r.cpu_us_per_transaction for r in rounds] for rounds in both)),
    }


def as_json(findings: Findings) -> dict[str, Any]:
    """Give the findings as plain values, with the ratios beside them."""
    return {
        "format": FORMAT,
        **asdict(findings),
        "ratios": {
            name: {figure: one and asdict(one) for figure, one in ratios(results).items()}
            for name, results in findings.results.items()
        },
    }


def as_markdown(findings: Findings) -> str:
    """Lay the findings out as Markdown tables, which also read well on a terminal."""
    parts = [
        ", ".join(f"{name} {version}" for name, version in findings.versions.items())
        + f"; {findings.machine['cpus']} CPUs; median of {findings.options['rounds']} rounds of "
        f"{findings.options['seconds']} s, taking turns.",
        _table(HEAD, (_row(name, results) for name, results in findings.results.items())),
    ]
    if findings.rows:
        rates = (_rows_a_second(name, number, findings.results[name]) for name, number in findings.rows.items())
        parts.append(_table(("rows a second", "direct", "PgBouncer", "poolguard"), rates))
    if findings.memory:
        sizes = (
            (name, _mib(m.idle_bytes), _mib(m.loaded_bytes), f"{m.per_idle_client_bytes / 1024:.1f} KiB")
            for name, m in findings.memory.items()
        )
        parts.append(_table(("memory", "RSS idle", "RSS after all workloads", "per idle client"), sizes))
    if findings.leases:
        times = (
            (name, str(r.number), str(r.failed), _number(r.p50_ms), _number(r.p99_ms), _number(r.worst_ms))
            for name, r in findings.leases.items()
        )
        parts.append(_table(("lease renewal", "number", "failed", "p50 ms", "p99 ms", "worst ms"), times))
    if findings.balances_agree is not None:
        parts.append(f"TPC-B balances agree: {'yes' if findings.balances_agree else 'NO'}.")
    parts += [f"Note: {note}." for note in findings.notes]
    return "\n\n".join(parts) + "\n"


def _row(name: str, results: Mapping[str, Result]) -> tuple[str, ...]:
    all_three = [results.get(contender) for contender in (DIRECT, PGBOUNCER, POOLGUARD)]
    against = ratios(results)
    return (
        name,
        *(_rate(r.tps) if r else "-" for r in all_three),
        _with_quartiles(against["tps"]),
        *(_ratio(against[key]) for key in ("p50", "p99")),
        ", ".join(_number(r.p50_ms) if r else "-" for r in all_three),
        ", ".join(_number(r.p99_ms) if r else "-" for r in all_three),
        ", ".join(_number(r.cpu_us_per_transaction if r else None) for r in all_three[1:]),
    )


def _rows_a_second(name: str, rows: int, results: Mapping[str, Result]) -> tuple[str, ...]:
    all_three = [results.get(contender) for contender in (DIRECT, PGBOUNCER, POOLGUARD)]
    return (name, *(f"{r.tps * rows:,.0f}" if r else "-" for r in all_three))


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else _number(value)


def _ratio(of: Ratio | None) -> str:
    return "-" if of is None else f"{of.median:.2f}"


def _with_quartiles(of: Ratio | None) -> str:
    return "-" if of is None else f"{of.median:.2f} ({of.lower:.2f} to {of.upper:.2f})"


def _number(value: float | None) -> str:
    """Three significant digits are more than the noise allows."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _mib(size: int) -> str:
    return f"{size / 1024**2:.1f} MiB"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(head))]
    # The first column holds names, the others numbers.
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    laid = [
        "| "
        + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        + " |"
        for line in [lines[0], rule, *lines[1:]]
    ]
    return "\n".join(laid)
