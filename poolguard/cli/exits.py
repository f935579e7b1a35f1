"""What each exit code means."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    PROBLEM = 1
    """Settings that can't be used, a server that can't be reached, not ready: standard error says what and why."""
    USAGE = 2
    """Called wrongly; argparse's own code for it."""
    NOT_HELD = 3
    """A lease that is not held, was not had in time, or was lost."""
    CANNOT_RUN = 126
    """A command that is there and can't be run, as shells report it."""
    NO_COMMAND = 127
    """A command that is not there, as shells report it."""
    INTERRUPTED = 130
    """Ended by Ctrl-C, as shells report it (128 + SIGINT)."""
