"""The process that `apart` starts: path and environment from standard input, what came of them to standard output."""

import os
import pickle
import sys
from typing import Final

from poolguard.core.errors import SettingsError
from poolguard.settings.loaded import Loaded

NICENESS: Final = 10
"""What is added to its own: at a reload clients are served meanwhile, and come first."""


def main() -> None:
    """Read once and end. Settings and their problems are results; whatever else happens is a bug, with its trace."""
    os.nice(NICENESS)
    # After that, for most of the work is to import it.
    from poolguard.settings.load import load

    path, environ = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    result: Loaded | SettingsError
    try:
        result = load(path, environ)
    except SettingsError as problems:
        result = problems
    pickle.dump(result, sys.stdout.buffer)


if __name__ == "__main__":
    main()
