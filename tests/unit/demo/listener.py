"""An HTTP listener that gives the answers it was told, in order, and remembers the requests."""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

HANG_UP: Final = 0
"""As a status: the connection is closed without an answer."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    content_type: str
    body: Any


class Listener:
    """Gives the last answer again when there is none left. *garbage_first*: the first answer is not HTTP's JSON."""

    def __init__(self, answers: Sequence[tuple[int, Any]], *, garbage_first: bool = False) -> None:
        self.requests: list[Request] = []
        self._answers = list(answers)
        self._garbage = garbage_first
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                text = self.rfile.read(length)
                status, content = owner.next_answer(
                    Request(
                        self.command,
                        self.path,
                        self.headers.get("Content-Type", ""),
                        json.loads(text) if text else None,
                    )
                )
                if status == HANG_UP:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self.answer
                raise AttributeError(name)

            def log_message(self, *_: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def next_answer(self, request: Request) -> tuple[int, bytes]:
        with self._lock:
            self.requests.append(request)
            status, body = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if self._garbage:
                self._garbage = False
                return status, b"<html>"
        return status, b"" if body is None else json.dumps(body).encode()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
