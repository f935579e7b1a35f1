"""`python -m tests.interop.reports [NAME ...]`: play reports, on DATABASE_URL (as superuser) or a private PostgreSQL.

Exit code 0: everything that the scripts claim was seen; 1: something was not, and they say what; 2: something is missing.
"""

import os
import signal
import sys
from contextlib import ExitStack
from typing import Final, NoReturn

import pytest

from poolguard.demo.postgres import EmbeddedPostgres
from tests.interop.reports import deadlocks, duplicate_keys, elections, full_pool, job_queue
from tests.interop.reports.stage import Stage
from tests.support import cluster

REPORTS: Final = {
    "deadlocks": deadlocks.play,
    "full_pool": full_pool.play,
    "duplicate_keys": duplicate_keys.play,
    "job_queue": job_queue.play,
    "elections": elections.play,
}
LIMIT_SECONDS: Final = 60
"""A script that takes longer hangs: it should take a third."""


def _give_up(*_: object) -> NoReturn:
    raise TimeoutError(f"not done in {LIMIT_SECONDS} s")


def main(names: list[str]) -> int:
    """Play the reports of those *names*; none: all."""
    unknown = sorted(set(names) - REPORTS.keys())
    if unknown:
        print(f"there is no {', '.join(unknown)}; there are {', '.join(REPORTS)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGALRM, _give_up)
    good = True
    with ExitStack() as stack:
        if url := os.environ.get("DATABASE_URL"):
            server = cluster.of_dsn(url)
        else:
            server = cluster.of_embedded(stack.enter_context(EmbeddedPostgres(settings={"max_connections": "200"})))
        for name in names or REPORTS:
            signal.alarm(LIMIT_SECONDS)
            with Stage(name, server) as stage:
                REPORTS[name](stage)
                good &= stage.verdict()
            signal.alarm(0)
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except pytest.skip.Exception as missing:
        sys.exit(f"missing: {missing}")
