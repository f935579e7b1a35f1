"""What is run. Each workload is one pgbench command line, the same for every contender."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

POOL_SIZE: Final = 10
"""Servers behind each pooler; direct runs get one backend per client."""

SCALE: Final = 10
"""pgbench's scale: 1,000,000 accounts, and ten branches to contend for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One pgbench run. *rate* is in transactions per second; None means as fast as it goes."""

    name: str
    script: str
    protocol: str
    clients: int
    rate: int | None = None
    log_share: float = 1.0
    """Share of the transactions whose latency is logged: below 1 where logging all would cost throughput."""

    @property
    def writes(self) -> bool:
        """Whether it changes the tables, so that the balances must be checked after it."""
        return self.script == "tpcb-like"


def all_workloads() -> tuple[Workload, ...]:
    """List every workload, in the order in which the report shows them."""
    selects = [
        Workload(
            name=f"select-{protocol}-{clients}",
            script="select-only",
            protocol=protocol,
            clients=clients,
            log_share=0.1,
        )
        for protocol in ("simple", "extended", "prepared")
        for clients in (1, 8, 40)
    ]
    fixed = Workload(
        name="select-simple-8-at-5000",
        script="select-only",
        protocol="simple",
        clients=8,
        rate=5000,
        log_share=0.1,
    )
    updates = [
        Workload(name=f"tpcb-simple-{clients}", script="tpcb-like", protocol="simple", clients=clients)
        for clients in (8, 40)
    ]
    return (*selects, fixed, *updates)


def choose(workloads: Sequence[Workload], globs: Sequence[str]) -> tuple[Workload, ...]:
    """Keep those whose name one of *globs* matches; all, if there are no globs."""
    if not globs:
        return tuple(workloads)
    return tuple(w for w in workloads if any(fnmatchcase(w.name, glob) for glob in globs))
