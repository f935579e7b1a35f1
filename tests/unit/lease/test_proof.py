"""How an application is seen to live: its process, or its answer to HTTP."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from poolguard.core.errors import InvalidLease
from poolguard.lease import proof
from tests.support.eventually import eventually_async


def stat(proc: Path, pid: int, *, state: str = "S", start: int = 100, name: str = "app) R 1 (x") -> None:
    (proc / str(pid)).mkdir(exist_ok=True)
    fields = [state, *["0"] * 18, str(start), "0"]
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")


async def test_a_process_lives_until_it_is_another_one_stopped_or_gone(tmp_path: Path) -> None:
    stat(tmp_path, 42)
    alive = proof.of_process(42, proc=tmp_path)
    assert await alive()
    for state in "TtZX":
        stat(tmp_path, 42, state=state)
        assert not await alive()
    stat(tmp_path, 42, start=101)
    assert not await alive()
    stat(tmp_path, 42)
    assert await alive()
    (tmp_path / "42" / "stat").unlink()
    assert not await alive()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
async def test_a_real_process_that_is_stopped_and_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:  # noqa: ASYNC220 - quick
        alive = proof.of_process(process.pid)
        assert await alive()
        process.send_signal(signal.SIGSTOP)
        await eventually_async(lambda: is_false(alive))
        process.send_signal(signal.SIGCONT)
        await eventually_async(alive)
        process.kill()
        await eventually_async(lambda: is_false(alive))


async def is_false(alive: Callable[[], Awaitable[bool]]) -> bool:
    return not await alive()


@pytest.mark.parametrize("pid", [0, 1, -5, True, "7", 1.5, None, 2**31, 2**31 - 1])
def test_process_ids_that_are_none_are_refused(pid: object) -> None:
    with pytest.raises(InvalidLease):
        proof.of_process(pid)
    assert os.getpid() != pid


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "http://example.com/",
        "http://169.254.169.254/latest",
        "http://user@localhost/",
        "http://localhost:99999/",
        "http://localhost/a b",
        "http://localhost/\r\nX: y",
        "http://localhost/ö",
        "http://" + "a" * 600,
        "localhost:80",
        7,
        None,
    ],
)
def test_only_plain_http_to_this_machine_is_checked(url: object) -> None:
    with pytest.raises(InvalidLease):
        proof.of_url(url)


@pytest.mark.parametrize(
    ("answer", "lives"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"HTTP/1.1 302 Found\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH 200\r\n", False),
        (b"", False),
    ],
)
async def test_a_url_that_answers_2xx_lives(answer: bytes, lives: bool) -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    alive = proof.of_url(f"http://127.0.0.1:{port}/healthz?deep=1")
    async with server:
        assert await alive() is lives
    assert asked[0].startswith(f"GET /healthz?deep=1 HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n".encode())
    assert not await alive(), "nobody listens any more"


async def test_a_url_that_answers_too_slowly_does_not_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "CHECK_SECONDS", 0.01)
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        assert not await proof.of_url(f"http://localhost:{server.sockets[0].getsockname()[1]}")()
        done.set()
