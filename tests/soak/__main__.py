"""`python -m tests.soak`: long runs of leases. Exit codes: 0 everything held, 1 something did not, 2 usage."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

from poolguard import __version__
from tests.soak import faults, handover, races, saturation, thousand
from tests.soak.verdict import Part, as_json

PARTS: Final[Mapping[str, tuple[float, Callable[[float, int, Callable[[str], None]], Part]]]] = {
    "faults": (900.0, faults.run),
    "handover": (60.0, handover.run),
    "races": (1800.0, races.run),
    "saturation": (120.0, saturation.run),
    "thousand": (600.0, thousand.run),
}
"""Name to seconds that it takes (races: at most) unless --minutes says otherwise, and what it does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for, one after the other or all at once."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Long runs of leases, with a verdict.")
    parser.add_argument("--only", nargs="*", choices=sorted(PARTS), default=[], metavar="PART", help="default: all")
    parser.add_argument("--minutes", type=float, help="length of each part (default: its own)")
    parser.add_argument("--seed", type=int, default=None, help="of chance (default: the time)")
    parser.add_argument("--at-once", action="store_true", help="all parts side by side, for a machine with cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings there too")
    parser.add_argument("--quiet", action="store_true", help="only the findings")
    options = parser.parse_args(argv)
    names = options.only or list(PARTS)
    seed = int(time.time()) if options.seed is None else options.seed
    print(f"poolguard {__version__}, leases: {', '.join(names)}; seed {seed}", flush=True)
    jobs = [(name, options.minutes, seed, options.quiet) for name in names]
    if options.at_once:
        with ProcessPoolExecutor(len(jobs)) as pool:
            parts = list(pool.map(_run, jobs))
    else:
        parts = [_run(job) for job in jobs]
    for part in parts:
        print(f"\n{part.text()}")
    if options.json is not None:
        options.json.write_text(as_json(parts, version=__version__, seed=seed) + "\n")
    return 0 if all(part.passed for part in parts) else 1


def _run(job: tuple[str, float | None, int, bool]) -> Part:
    name, minutes, seed, quiet = job
    default, run = PARTS[name]

    def say(text: str) -> None:
        if not quiet:
            print(f"{name}: {text}", flush=True)

    return run(default if minutes is None else minutes * 60, seed, say)


if __name__ == "__main__":
    sys.exit(main())
