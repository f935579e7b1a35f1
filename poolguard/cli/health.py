"""`poolguard health`: whether a running poolguard is ready, for container health checks and scripts."""

import argparse
import sys
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from poolguard.cli.exits import Exit
from poolguard.cli.sources import add_config, load_settings
from poolguard.core.errors import PoolguardError

NAME: Final = "health"
HELP: Final = "Ask a running poolguard whether it is ready (GET /readyz): exit code 0 if it is, else 1."

DEFAULT_PORT: Final = 9127
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound
_MOST_SHOWN: Final = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config(parser)
    parser.add_argument("--url", metavar="URL", help="the metrics listener, as http://127.0.0.1:9127")
    parser.add_argument("--timeout", type=_seconds, default=3.0, metavar="SECONDS", help="default: 3")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 600:
        raise ValueError
    return value


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Exit:
    """Ask; print what it answered."""
    from http.client import HTTPConnection, HTTPException

    host, port = _of_url(arguments.url) if arguments.url else _of_settings(arguments.config, environ)
    connection = HTTPConnection(host, port, timeout=arguments.timeout)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read(_MOST_SHOWN).decode(errors="replace").strip()
    except (OSError, HTTPException) as error:
        print(f"no answer from {host}:{port}: {str(error) or type(error).__name__}", file=sys.stderr)
        return Exit.PROBLEM
    finally:
        connection.close()
    ready = answer.status == 200
    print(text or answer.reason, file=sys.stdout if ready else sys.stderr)
    return Exit.OK if ready else Exit.PROBLEM


def _of_url(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        port = parts.port
    except ValueError:
        port, parts = None, urlsplit("")
    if parts.hostname is None or parts.scheme not in ("", "http"):
        raise PoolguardError("--url is not the address of a listener: write for example http://127.0.0.1:9127")
    return parts.hostname, port or DEFAULT_PORT


def _of_settings(given: str | None, environ: Mapping[str, str]) -> tuple[str, int]:
    try:
        metrics = load_settings(given, environ).settings.listen.metrics
    except PoolguardError:
        # A file that was broken after the start must not make a healthy container look ill.
        print(f"the settings can't be read (see check-config): asking port {DEFAULT_PORT}", file=sys.stderr)
        return "127.0.0.1", DEFAULT_PORT
    return _EVERYWHERE.get(metrics.host, metrics.host), metrics.port
