"""Settings that can be used as they are, and where they came from. Pure."""

from dataclasses import dataclass
from typing import Final

from poolguard.settings.model import Settings

WITHOUT_FILE: Final = "defaults and environment"
"""`Loaded.source` when there is no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What comes of a settings file without a problem."""

    settings: Settings
    hash: str
    """12 hex digits; secrets count in it and can't be read from it."""
    source: str
    """The file as it was named, or WITHOUT_FILE."""
    warnings: tuple[str, ...] = ()
    """A line each, as problems are written. None holds a secret."""
