"""Requests to the control listener of a running poolguard, for commands that look at it or act on it."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from poolguard.cli.sources import add_config, load_settings
from poolguard.core.errors import PoolguardError

URL_VARIABLE: Final = "POOLGUARD_URL"
TOKEN_VARIABLE: Final = "POOLGUARD_ADMIN_TOKEN"  # noqa: S105 - a variable's name
DEFAULT_PORT: Final = 6433
MOST_BYTES: Final = 64 * 1024 * 1024
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


class NoAnswer(PoolguardError):
    """There is no poolguard there, or it said nothing that can be read."""

    code = "no_answer"


class Refused(PoolguardError):
    """It answered with an error."""

    code = "refused"


def add_control(parser: argparse.ArgumentParser) -> None:
    """Add what says which poolguard is meant."""
    add_config(parser)
    parser.add_argument(
        "--url", metavar="URL", help=f"the control listener (default: ${URL_VARIABLE}, else as the settings say)"
    )
    parser.add_argument(
        "--token-file", metavar="FILE", help=f"holds the admin token (default: ${TOKEN_VARIABLE}, else the settings)"
    )


class Control:
    """One control listener."""

    def __init__(self, arguments: argparse.Namespace, environ: Mapping[str, str], *, seconds: float = 30.0) -> None:
        """*seconds*: how long an answer may take."""
        self._seconds = seconds
        self._host, self._port, self._token = _found(arguments, environ)

    def get(self, path: str) -> Any:
        """What is at *path*. Raises NoAnswer or Refused."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        """Change something. Raises NoAnswer or Refused."""
        return self._ask("POST", path, body)

    def all(self, path: str, key: str) -> list[Any]:
        """Every item of a list that comes in pages."""
        found: list[Any] = []
        while True:
            page = self.get(f"{path}?limit=500&offset={len(found)}")
            found += page[key]
            if not page[key] or len(found) >= page["total"]:
                return found

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None) -> Any:
        import http.client

        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._seconds)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            status, text = response.status, response.read(MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(
                f"no answer from {self._host}:{self._port}: {str(error) or type(error).__name__}",
                hint="Is poolguard running, and is this its control listener? Say which with --url.",
            ) from None
        finally:
            connection.close()
        try:
            answer = json.loads(text)
        except ValueError:
            raise NoAnswer(f"{self._host}:{self._port} answered {status}, and no JSON: is it poolguard?") from None
        if status >= 400:
            told = answer if isinstance(answer, dict) else {}
            raise Refused(
                str(told.get("message", f"HTTP status {status}")),
                detail=str(told.get("detail", "")),
                hint=_hint(status) or str(told.get("hint", "")),
            )
        return answer


def _hint(status: int) -> str:
    if status in (401, 403):
        return f"Give the admin token of its settings: --token-file FILE, or ${TOKEN_VARIABLE}."
    return ""


def _found(arguments: argparse.Namespace, environ: Mapping[str, str]) -> tuple[str, int, str]:
    url = arguments.url or environ.get(URL_VARIABLE)
    token = environ.get(TOKEN_VARIABLE, "")
    if arguments.token_file:
        try:
            token = Path(arguments.token_file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise PoolguardError(f"can't read {arguments.token_file}: {reason}") from None
    if url:
        return *_address(url), token
    settings = load_settings(arguments.config, environ).settings
    control = settings.listen.control
    return _EVERYWHERE.get(control.host, control.host), control.port or DEFAULT_PORT, token or settings.auth.admin_token


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        port = parts.port
    except ValueError:
        port, parts = None, urlsplit("")
    if parts.hostname is None or parts.scheme not in ("", "http"):
        raise PoolguardError("that is not the address of a listener: write for example http://127.0.0.1:6433")
    return parts.hostname, port or DEFAULT_PORT


def login_name() -> str:
    """Who runs this command, for the record."""
    import getpass

    try:
        return getpass.getuser()[:64] or "unknown"
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"
