"""What is run. Each workload is one command line of pgbench, or of psql for COPY, the same for every contender."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

POOL_SIZE: Final = 10
"""Servers behind each pooler; direct runs get one backend per client."""

SCALE: Final = 10
"""pgbench's scale: 1,000,000 accounts, and ten branches to contend for."""


ROWS: Final = 100_000
"""Of each large result and each COPY: 10 MB, some hundred bytes a row."""

MANY_ROWS: Final = f"SELECT * FROM pgbench_accounts WHERE aid <= {ROWS}"
COPIED_TABLE: Final = "bench_copied"
"""Shaped like pgbench_accounts, without indexes and unlogged: PostgreSQL's part of a COPY is as small as can be."""
COPIED_FILE: Final = "rows.copy"
"""What MANY_ROWS gives, as COPY writes it, in the folder where psql runs."""

BUILTINS: Final = ("select-only", "tpcb-like")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One run. *rate* is in transactions per second; None means as fast as it goes."""

    name: str
    script: str
    """One of pgbench's BUILTINS, or the statement that is a transaction; for psql a `\\copy`."""
    protocol: str = "simple"
    clients: int = 1
    rate: int | None = None
    log_share: float = 1.0
    """Share of the transactions whose latency is logged: below 1 where logging all would cost throughput."""
    reconnects: bool = False
    """A new connection for each transaction. pgbench's latency leaves connecting out, so there is none here."""
    psql: bool = False
    """Run by psql, one client: pgbench can't COPY."""
    first: str = ""
    """psql's: a statement before the copies of each process, untimed."""
    rows: int = 0
    """In each transaction, where their number is the figure; else 0."""
    brief: bool = False
    """Half of the time is enough: what it shows is coarse."""

    @property
    def writes(self) -> bool:
        """Whether it changes the tables, so that the balances must be checked after it."""
        return self.script == "tpcb-like"

    def seconds_of(self, asked: int) -> int:
        """How long one run is, where *asked* seconds are wanted. pgbench's own clock begins before it connects."""
        return (max(1, asked // 2) if self.brief else asked) + self.clients // 100


def all_workloads() -> tuple[Workload, ...]:
    """List every workload, in the order in which the report shows them."""
    selects = [
        Workload(
            name=f"select-{protocol}-{clients}",
            script="select-only",
            protocol=protocol,
            clients=clients,
            log_share=0.1,
            brief=clients == 200,
        )
        for protocol in ("simple", "extended", "prepared")
        for clients in (1, 8, 40, 200)
    ]
    fixed = Workload(
        name="select-simple-8-at-5000",
        script="select-only",
        protocol="simple",
        clients=8,
        rate=5000,
        log_share=0.1,
    )
    connect = Workload(name="connect-8", script="select-only", clients=8, reconnects=True, brief=True)
    large = [
        Workload(name="rows-100k", script=MANY_ROWS, rows=ROWS, brief=True),
        Workload(name="copy-out", script=f"\\copy ({MANY_ROWS}) TO '/dev/null'", psql=True, rows=ROWS, brief=True),
        Workload(
            name="copy-in",
            script=f"\\copy {COPIED_TABLE} FROM '{COPIED_FILE}'",
            psql=True,
            first=f"TRUNCATE {COPIED_TABLE}",
            rows=ROWS,
            brief=True,
        ),
    ]
    updates = [Workload(name=f"tpcb-simple-{clients}", script="tpcb-like", clients=clients) for clients in (8, 40)]
    return (*selects, fixed, connect, *large, *updates)


def choose(workloads: Sequence[Workload], globs: Sequence[str]) -> tuple[Workload, ...]:
    """Keep those whose name one of *globs* matches; all, if there are no globs."""
    if not globs:
        return tuple(workloads)
    return tuple(w for w in workloads if any(fnmatchcase(w.name, glob) for glob in globs))
