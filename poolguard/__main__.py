"""`python -m poolguard` is the command `poolguard`."""

import sys

from poolguard.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
