import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from poolguard.cli.exits import Exit
from poolguard.cli.main import main


@contextmanager
def listener(status: int) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(b'{"ready": "perhaps"}\n')

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_ready_is_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    with listener(200) as port:
        assert main(["health", "--url", f"http://127.0.0.1:{port}"], {}) == Exit.OK
    assert capsys.readouterr() == ('{"ready": "perhaps"}\n', "")


def test_not_ready_is_exit_code_1_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with listener(503) as port:
        assert main(["health", "--url", f"127.0.0.1:{port}"], {}) == Exit.PROBLEM
    assert capsys.readouterr() == ("", '{"ready": "perhaps"}\n')


def test_the_listener_of_the_settings_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    with listener(200) as port:
        file.write_text(f"listen: {{metrics: {{host: 0.0.0.0, port: {port}}}}}")
        assert main(["health", "--config", str(file)], {}) == Exit.OK


def test_no_answer_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert main(["health", "--url", f"http://127.0.0.1:{port}", "--timeout", "2"], {}) == Exit.PROBLEM
    assert capsys.readouterr().err.startswith(f"no answer from 127.0.0.1:{port}: ")


def test_an_answer_that_is_no_http_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=lambda: server.accept()[0].close())
        thread.start()
        port = server.getsockname()[1]
        assert main(["health", "--url", f"127.0.0.1:{port}"], {}) == Exit.PROBLEM
        thread.join()
    assert "no answer from" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["https://x", "http://", "http://x:y", "http://x:99999", "file:///etc/passwd"])
def test_an_address_that_is_none_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "--url", url], {}) == Exit.PROBLEM
    assert "write for example http://127.0.0.1:9127" in capsys.readouterr().err


@pytest.mark.parametrize("timeout", ["0", "-1", "x", "nan", "1e9"])
def test_a_timeout_is_some_seconds(timeout: str) -> None:
    with pytest.raises(SystemExit):
        main(["health", f"--timeout={timeout}"], {})


def test_settings_that_broke_after_the_start_do_not_make_poolguard_look_ill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("broken: yes")
    with listener(200) as port:
        monkeypatch.setattr("poolguard.cli.health.DEFAULT_PORT", port)
        assert main(["health", "--config", str(file)], {}) == Exit.OK
