"""`poolguard run`: the daemon, also on a PostgreSQL of its own."""

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from poolguard.cli.exits import Exit
from poolguard.cli.sources import add_config, settings_file
from poolguard.core.errors import SettingsError

if TYPE_CHECKING:
    from poolguard.settings.loaded import Loaded

NAME: Final = "run"
HELP: Final = "Run poolguard until SIGTERM or Ctrl-C."

_PLACEHOLDER: Final = "postgresql://embedded"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config(parser)
    parser.add_argument(
        "--observe", action="store_true", help="the guard ends nothing; it logs what it would have done"
    )
    parser.add_argument(
        "--embedded-postgres",
        action="store_true",
        help="start a private PostgreSQL first, gone at the end with all that is in it (to try poolguard out)",
    )


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Exit:
    """Load the settings and run."""
    if arguments.embedded_postgres:
        return _run_embedded(arguments, environ)
    return _run(_load(arguments.config, environ), environ, observe=arguments.observe)


def _run(loaded: "Loaded", environ: Mapping[str, str], *, observe: bool) -> Exit:
    from poolguard.daemon.main import run

    return Exit.OK if run(loaded, environ, observe=observe) == 0 else Exit.PROBLEM


def _run_embedded(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Exit:
    from poolguard.demo.postgres import EmbeddedPostgres

    # Settings that can't be used are told before anything is started.
    _load_for(_PLACEHOLDER, arguments.config, environ)
    with EmbeddedPostgres() as postgres:
        loaded = _load_for(postgres.url, arguments.config, environ)
        print(_invitation(loaded), file=sys.stderr, flush=True)
        # Reloads too must find the embedded one.
        return _run(loaded, _with_url(postgres.url, environ), observe=arguments.observe)


def _load(config: str | None, environ: Mapping[str, str]) -> "Loaded":
    # Other commands end soon; this process stays, and is to stay small.
    from poolguard.settings.apart import load_apart

    return load_apart(settings_file(config, environ), environ)


def _load_for(url: str, config: str | None, environ: Mapping[str, str]) -> "Loaded":
    loaded = _load(config, _with_url(url, environ))
    if loaded.settings.upstream.url != url:
        raise SettingsError(
            f"{loaded.source}: upstream.url: names another PostgreSQL than the embedded one: "
            "write ${DATABASE_URL:-} there, or leave --embedded-postgres out"
        )
    return loaded


def _with_url(url: str, environ: Mapping[str, str]) -> Mapping[str, str]:
    return {**environ, "DATABASE_URL": url}


def _invitation(loaded: "Loaded") -> str:
    listen = loaded.settings.listen
    pools = ", ".join(loaded.settings.pools)
    lines = ["PostgreSQL runs, for as long as poolguard does. To try:"]
    if listen.clients.port:
        database = loaded.settings.default_pool
        lines.append(f"  psql -h {listen.clients.host} -p {listen.clients.port} -U postgres -d {database}")
        lines.append(f"Pools, by database name: {pools}.")
    else:
        lines.append("  psql to the port that the log line 'poolguard runs' tells")
    if listen.control.port:
        lines.append(f"The page: http://{listen.control.host}:{listen.control.port}/")
    return "\n".join(lines)
