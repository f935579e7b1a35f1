"""Which settings file is meant, and its settings."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from poolguard.settings.loaded import Loaded

CONFIG_VARIABLE: Final = "POOLGUARD_CONFIG"


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config FILE`."""
    parser.add_argument("--config", metavar="FILE", help=f"settings file (default: ${CONFIG_VARIABLE}, else none)")


def settings_file(given: str | None, environ: Mapping[str, str]) -> str | None:
    """The file that is meant: *given*, else the one that the environment names, else none."""
    return given or environ.get(CONFIG_VARIABLE) or None


def load_settings(given: str | None, environ: Mapping[str, str]) -> "Loaded":
    """Load that file. Raises SettingsProblems."""
    from poolguard.settings.load import load

    return load(settings_file(given, environ), environ)
