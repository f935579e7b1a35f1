"""What each exit code means."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    PROBLEM = 1
    """Settings that can't be used, a server that can't be reached, not ready: standard error says what and why."""
    USAGE = 2
    """Called wrongly; argparse's own code for it."""
    INTERRUPTED = 130
    """Ended by Ctrl-C, as shells report it (128 + SIGINT)."""
