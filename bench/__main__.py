"""`python -m bench`: measure direct, PgBouncer and poolguard in one run, print ratios.

Exit codes: 0 done; 1 something is missing or a figure would have been wrong (the message says what); 2 usage.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

import poolguard
from bench import contenders as stand
from bench import leases, memory, pgbench, psql
from bench.contenders import DIRECT, MAX_CLIENTS, NAMES, PGBOUNCER, POOLGUARD, Contender, Upstream
from bench.figures import Sample, combine
from bench.memory import Memory
from bench.processes import BenchError, allow_open_files, find_program
from bench.report import Findings, as_json, as_markdown
from bench.workloads import Workload, all_workloads, choose
from poolguard.core.errors import PoolguardError
from poolguard.demo.postgres import EmbeddedPostgres

DATABASE = "bench"
QUIET_LOAD = 0.5
"""Load average above which somebody else uses the machine."""
POSTGRES_SETTINGS = {"max_connections": "300", "shared_buffers": "256MB"}
OPEN_FILES = 2 * MAX_CLIENTS
"""Of each process: the idle clients', and what else it has."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(argv)
    workloads = choose(all_workloads(), options.only)
    if options.list:
        print("\n".join(w.name for w in workloads))
        return 0
    if not workloads:
        print(f"bench: no workload matches {' '.join(options.only)}: see --list", file=sys.stderr)
        return 2
    try:
        findings = measure(options, workloads)
    except (BenchError, PoolguardError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(as_markdown(findings))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(as_json(findings), indent=2) + "\n")
    return 1 if findings.balances_agree is False else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; --quick only changes what was not given by hand."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="direct, PgBouncer and poolguard, side by side"
    )
    parser.add_argument("--quick", action="store_true", help="one round of 1 s each: does it run, not how fast")
    parser.add_argument(
        "--seconds", type=_positive, help="length of one run (default 1; half of it for the coarser workloads)"
    )
    parser.add_argument("--rounds", type=_positive, help="how often everybody has a turn (default 12)")
    parser.add_argument("--renewals", type=_positive, help="lease renewals per situation (default 500)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings there too")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="GLOB",
        help="only these workloads, e.g. 'select-simple-*'",
    )
    parser.add_argument("--without", action="append", default=[], choices=NAMES, help="leave one out")
    parser.add_argument("--list", action="store_true", help="print the names of the workloads")
    options = parser.parse_args(argv)
    quick = (1, 1, 100) if options.quick else (1, 12, 500)
    for name, default in zip(("seconds", "rounds", "renewals"), quick, strict=True):
        if getattr(options, name) is None:
            setattr(options, name, default)
    if len(set(options.without)) == len(NAMES):
        parser.error("--without: nobody is left")
    return options


def measure(options: argparse.Namespace, workloads: Sequence[Workload]) -> Findings:
    """Start everybody, give each a turn in each round, then look at memory, leases and balances."""
    load = os.getloadavg()[0]
    allow_open_files(OPEN_FILES)
    with ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(settings=POSTGRES_SETTINGS))
        programs = {name: find_program(name, postgres.binaries.folder) for name in ("pgbench", "psql")}
        postgres.create_database(DATABASE)
        upstream = Upstream(host=postgres.host, port=postgres.port, user=postgres.user, database=DATABASE)
        straight = stand.direct(upstream, _server_version(postgres))
        folder = stack.enter_context(_folder())
        _say("filling pgbench's tables")
        pgbench.initialise(programs["pgbench"], straight)
        psql.initialise(programs["psql"], straight, folder)
        notes: list[str] = []
        present = list(_stand_up(stack, upstream, straight, options.without, notes))
        findings = Findings(
            machine={
                "system": platform.platform(),
                "cpus": os.cpu_count(),
                "python": platform.python_version(),
            },
            options={"seconds": options.seconds, "rounds": options.rounds},
            versions={c.name: c.version for c in present},
            notes=notes,
        )
        if load > QUIET_LOAD:
            notes.append(f"the machine was not quiet: load average {load:.1f} before the start")
        poolers = [c for c in present if c.pid]
        idle = {c.name: c.rss_bytes() for c in poolers}
        per_client = {c.name: memory.per_idle_client(c) for c in poolers}
        if any(w.protocol == "prepared" for w in workloads):
            notes.extend(
                f"{c.name} {c.version} has no named prepared statements in transaction mode (PgBouncer 1.21 has): "
                "it sits out select-prepared-*"
                for c in present
                if not c.prepares
            )
        for workload in workloads:
            _take_turns(workload, present, findings, programs, postgres, options, folder)
        for c in poolers:
            findings.memory[c.name] = Memory(
                idle_bytes=idle[c.name],
                loaded_bytes=c.rss_bytes(),
                per_idle_client_bytes=per_client[c.name],
            )
        for c in poolers:
            if c.control_port:
                _say("lease renewals: idle, loaded, exhausted")
                findings.leases |= leases.measure(c, programs["pgbench"], number=options.renewals, folder=folder)
        if any(w.writes for w in workloads):
            findings.balances_agree = balances_agree(postgres)
        return findings


def _stand_up(
    stack: ExitStack, upstream: Upstream, straight: Contender, without: Sequence[str], notes: list[str]
) -> Iterator[Contender]:
    if DIRECT not in without:
        yield straight
    if PGBOUNCER not in without:
        found = stand.find_pgbouncer()
        if found is None:
            notes.append("PgBouncer is not installed, so there is nothing to compare with (apt-get install pgbouncer)")
        else:
            bouncer = stack.enter_context(stand.pgbouncer(upstream, *found, stack.enter_context(_folder())))
            yield bouncer
    if POOLGUARD not in without:
        folder = stack.enter_context(_folder())
        yield stack.enter_context(stand.poolguard(upstream, folder, poolguard.__version__))


def _take_turns(
    workload: Workload,
    present: Sequence[Contender],
    findings: Findings,
    programs: Mapping[str, Path],
    postgres: EmbeddedPostgres,
    options: argparse.Namespace,
    folder: Path,
) -> None:
    able = [c for c in present if c.can_run(workload)]
    samples: dict[str, list[Sample]] = {c.name: [] for c in able}
    seconds = workload.seconds_of(options.seconds)
    for turn in range(1, options.rounds + 1):
        for contender in in_turn(able, turn):
            if workload.writes:
                _tidy(postgres)
            if workload.psql:
                sample = psql.run(programs["psql"], workload, contender, seconds=seconds, folder=folder)
            else:
                sample = pgbench.run(programs["pgbench"], workload, contender, seconds=seconds, folder=folder)
            samples[contender.name].append(sample)
            _say(f"{workload.name} round {turn}: {contender.name} {sample.tps:,.{0 if sample.tps >= 100 else 2}f} tps")
    findings.results[workload.name] = {name: combine(taken) for name, taken in samples.items() if taken}
    if workload.rows:
        findings.rows[workload.name] = workload.rows


def in_turn(contenders: Sequence[Contender], turn: int) -> Sequence[Contender]:
    """Who runs after whom in round *turn*, from 1 on: each time somebody else is the first."""
    first = (turn - 1) % max(1, len(contenders))
    return (*contenders[first:], *contenders[:first])


def _tidy(postgres: EmbeddedPostgres) -> None:
    """Vacuum the tables that TPC-B bloats, so that whoever comes later doesn't pay for those before."""
    with postgres.connect(DATABASE) as connection:
        for table in ("pgbench_branches", "pgbench_tellers"):
            connection.execute(sql.SQL("VACUUM {}").format(sql.Identifier(table)))
        connection.execute("CHECKPOINT")


def balances_agree(postgres: EmbeddedPostgres) -> bool:
    """Whether no update was lost or made twice: four sums that each TPC-B transaction moves alike."""
    with psycopg.connect(postgres.url_of(DATABASE)) as connection:
        sums = connection.execute(
            "SELECT (SELECT sum(abalance) FROM pgbench_accounts),"
            " (SELECT sum(bbalance) FROM pgbench_branches),"
            " (SELECT sum(tbalance) FROM pgbench_tellers),"
            " (SELECT coalesce(sum(delta), 0) FROM pgbench_history)"
        ).fetchone()
    return sums is not None and len(set(sums)) == 1


def _server_version(postgres: EmbeddedPostgres) -> str:
    with postgres.connect() as connection:
        return f"PostgreSQL {connection.info.parameter_status('server_version')}"


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="poolguard-bench-") as name:
        yield Path(name)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
