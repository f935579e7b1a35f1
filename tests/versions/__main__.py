"""`python -m tests.versions`: exit codes: 0 green on every version, 1 not on all, 2 usage, or something is missing."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

from tests.versions.binaries import PINNED, missing, server

MEET_POSTGRESQL: Final = ("lease", "guard", "relay", "upstream", "daemon", "faults")
"""Folders of tests/integration."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run them, a version after the other; print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.versions", description="On every version of PostgreSQL.")
    parser.add_argument("--only", type=int, nargs="*", choices=sorted(PINNED), default=sorted(PINNED), metavar="N")
    parser.add_argument("tests", nargs="*", default=[f"tests/integration/{name}" for name in MEET_POSTGRESQL])
    options = parser.parse_args(argv)
    if what := missing():
        print(f"missing: {what}", file=sys.stderr)
        return 2
    failed = 0
    for major in options.only:
        began = time.monotonic()
        environ = {**os.environ, "POOLGUARD_PG_BIN": str(server(major))}
        done = subprocess.run([sys.executable, "-m", "pytest", *options.tests], env=environ, check=False)
        verdict = "green" if done.returncode == 0 else "FAILED"
        print(f"PostgreSQL {PINNED[major]}: {verdict} ({time.monotonic() - began:.0f} s)", flush=True)
        failed += done.returncode != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
