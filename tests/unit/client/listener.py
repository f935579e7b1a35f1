"""An HTTP listener that answers from a script, and notes what it was asked."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Reply = tuple[int, object] | Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Script:
    """What is answered, one after the other (the last one repeats), and what was asked."""

    replies: list[Reply]
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def listening(*replies: Reply) -> Iterator[Script]:
    script = Script(list(replies))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            script.asked.append((self.command, self.path, json.loads(content) if content else None))
            script.headers.append(dict(self.headers))
            reply = script.replies.pop(0) if len(script.replies) > 1 else script.replies[0]
            if callable(reply):
                reply(self)
                return
            status, body = reply
            text = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - the names are the base class's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that gave up is what some tests are about

    with Server(("127.0.0.1", 0), Handler) as server:
        script.port = server.server_port
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()


def lease(token: int = 7, *, valid_for_ms: int = 13_500, holder: str = "pod-1", **more: object) -> dict[str, object]:
    return {
        "name": "a",
        "holderIdentity": holder,
        "leaseDurationSeconds": 15,
        "acquireTime": None,
        "renewTime": None,
        "leaseTransitions": 1,
        "token": token,
        "validForMs": valid_for_ms,
        "metadata": None,
        **more,
    }


def at_index(index: int, body: object) -> Reply:
    """200 with that index."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        text = json.dumps(body).encode()
        handler.send_response(200)
        handler.send_header("X-Poolguard-Index", str(index))
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    return reply


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
