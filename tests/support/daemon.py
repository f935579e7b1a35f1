"""A real `poolguard run` in a process of its own, as an operator meets it: settings file, signals, ports and log."""

import http.client
import json
import os
import signal
import sys
import tempfile
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import psycopg
from prometheus_client.parser import text_string_to_metric_families
from psycopg import conninfo

from poolguard.demo.kept import KeptProcesses
from poolguard.demo.sidecar import child_environment, json_lines
from poolguard.wire.scram import ScramSecret
from tests.support.eventually import eventually

START_SECONDS: Final = 30.0
END_SECONDS: Final = 30.0

JSON: Final = {"Content-Type": "application/json"}
ANY_PORTS: Final[Mapping[str, object]] = {
    "clients": {"host": "127.0.0.1", "port": 0},
    "control": {"host": "127.0.0.1", "port": 0},
    "metrics": {"host": "127.0.0.1", "port": 0},
}

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from an HTTP request."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.text)


def written_secret(secret: ScramSecret) -> str:
    """*secret* as pg_authid.rolpassword holds it, and the settings may."""
    salt, stored, server = (b64encode(part).decode() for part in (secret.salt, secret.stored_key, secret.server_key))
    return f"SCRAM-SHA-256${secret.iterations}:{salt}${stored}:{server}"


class Web:
    """One HTTP listener of a daemon; the connection is kept open. Each thread needs its own."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request and read the whole answer. Raises OSError when there is none."""
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, {**(JSON if body is not None else {}), **(headers or {})})
        response = self._connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read().decode())


class Daemon:
    """One process. It is started by start(), and gone when this is closed or the test run has ended, however.

    *settings* are written as the settings file, with free ports; None: it runs without a file.
    """

    def __init__(
        self,
        settings: Mapping[str, object] | None,
        *,
        environ: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.folder: Final = Path(tempfile.mkdtemp(prefix="poolguard-test-"))
        self.file: Final = self.folder / "settings" / "poolguard.yaml"
        self._log: Final = self.folder / "log"
        self._kept: Final = KeptProcesses(self.folder)
        self._environ: Final = {**child_environment(os.environ), **(environ or {})}
        self._arguments: Final = tuple(arguments)
        self._with_file: Final = settings is not None
        self._facts: dict[str, Any] = {}
        self.pid = 0
        self.file.parent.mkdir()
        if settings is not None:
            self.write(settings)

    # Its life.

    def start(self) -> None:
        """Start the process; it may not run yet, or ever."""
        config = ["--config", str(self.file)] if self._with_file else []
        self.pid = self._kept.spawn(
            [sys.executable, "-m", "poolguard", "run", *config, *self._arguments], log=self._log, env=self._environ
        )

    def wait_until_it_runs(self) -> None:
        """Return when everything listens."""

        def running() -> bool:
            code = self.poll()
            if code is not None:
                raise RuntimeError(f"poolguard ended with exit code {code}\n{self.log_text()}")
            told = self.logged("poolguard runs")
            self._facts = told[0] if told else {}
            return bool(told)

        eventually(running, within=START_SECONDS, every=0.02)

    def close(self) -> None:
        """End it if it still runs, and remove its files."""
        self._kept.close()

    def poll(self) -> int | None:
        """The exit code (negative: the signal that ended it); None while it runs."""
        return self._kept.poll(self.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._kept.signal(self.pid, number)

    def exit_code(self, *, within: float = END_SECONDS) -> int:
        """Wait for its end."""
        eventually(lambda: self.poll() is not None, within=within)
        code = self.poll()
        assert code is not None, "it has ended"
        return code

    # Its settings.

    def write(self, settings: Mapping[str, object]) -> None:
        """Write the settings file, with free ports unless *settings* say which; all at once, as careful tools do."""
        listen = settings.get("listen", {})
        assert isinstance(listen, Mapping), "listen is a map"
        whole = {**settings, "listen": {**ANY_PORTS, **listen}}
        self.write_text(json.dumps(whole, indent=2))

    def write_text(self, text: str) -> None:
        """Write any text as the settings file."""
        fresh = self.folder / "fresh.yaml"
        fresh.write_text(text)
        fresh.replace(self.file)

    # Talking to it.

    @property
    def clients_port(self) -> int:
        """Where applications connect."""
        return int(self._facts["clients_port"])

    @property
    def control_url(self) -> str:
        """Where leases are."""
        return f"http://127.0.0.1:{self._facts['control_port']}"

    def conninfo(self, pool: str, **more: str | int) -> str:
        """How libpq gets to *pool*."""
        given = {"host": "127.0.0.1", "port": self.clients_port, "user": "postgres", "dbname": pool, **more}
        return conninfo.make_conninfo("", **given)

    def connect(self, pool: str = "app", *, autocommit: bool = False, **more: str | int) -> Connection:
        """Open a client's connection; the caller closes it."""
        return psycopg.connect(self.conninfo(pool, connect_timeout=20, **more), autocommit=autocommit)

    def control(self) -> Web:
        """A connection to the control listener."""
        return Web(self._facts["control_port"])

    def metrics(self) -> Web:
        """A connection to the metrics listener."""
        return Web(self._facts["metrics_port"])

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request to the control listener, on a connection of its own."""
        with self.control() as web:
            return web.ask(method, path, body, headers)

    def get(self, path: str) -> Any:
        """What the control listener shows at *path*."""
        answer = self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def probe(self, path: str) -> Answer:
        """What kubelet and Prometheus see at *path*."""
        with self.metrics() as web:
            return web.ask("GET", path)

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples called *name* that have all of *labels*; 0 without any."""
        families = text_string_to_metric_families(self.probe("/metrics").text)
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def pool(self, name: str) -> dict[str, Any]:
        """A pool's state, as the API shows it."""
        found: dict[str, Any] = self.get(f"/v1/pools/{name}")
        return found

    # What it says.

    def log_text(self) -> str:
        """All that it has written to standard error."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The JSON log lines of that message so far."""
        return [line for line in json_lines(self.log_text()) if line["message"] == message]

    def told(self, message: str, *, times: int = 1, within: float = 10.0) -> dict[str, Any]:
        """Wait until it has logged *message* that many times; the last such line."""
        return eventually(lambda: self.logged(message)[times - 1 : times], within=within)[0]
