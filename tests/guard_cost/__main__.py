"""`python -m tests.guard_cost`: exit codes: 0 every figure is within its bound, 1 one is not, 2 usage."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from tests.guard_cost import busy, crowd


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.guard_cost", description="What the guard costs.")
    parser.add_argument("--seconds", type=int, default=10, help="of each load (default 10)")
    options = parser.parse_args(argv)
    parts = [*busy.run(options.seconds), asyncio.run(crowd.run())]
    print("\n\n".join(part.text() for part in parts))
    return 0 if all(part.passed for part in parts) else 1


if __name__ == "__main__":
    sys.exit(main())
