"""poolguard's HTTP API, as a program without libraries would use it."""

import http.client
import json
from collections.abc import Mapping
from typing import Any, Final, Self

from poolguard.core.errors import PoolguardError

TIMEOUT_SECONDS: Final = 5.0


class ApiFailed(PoolguardError):
    """poolguard gave no answer, or not the one that was needed."""

    code = "api_failed"


class Api:
    """One listener. Each thread needs an Api of its own; connections are kept open between requests."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", timeout: float = TIMEOUT_SECONDS) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a later request opens a new one."""
        self._connection.close()

    def get(self, path: str) -> dict[str, Any]:
        """Return the answer of a GET. Raises ApiFailed unless it is 200."""
        status, body = self.ask("GET", path)
        if status != 200:
            raise ApiFailed(f"GET {path}: {status} {body.get('message', '')}")
        return body

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> tuple[int, dict[str, Any]]:
        """Send a request; return status and JSON body ({} for none). Raises ApiFailed when no answer comes."""
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"} if content is not None else {}
        try:
            self._connection.request(method, path, content, headers)
            response = self._connection.getresponse()
            text = response.read()
            answer = json.loads(text) if text else {}
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise ApiFailed(f"{method} {path}: {type(error).__name__}: {error}") from None
        return response.status, answer if isinstance(answer, dict) else {}
