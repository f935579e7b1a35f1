"""Sidecars, networks and holders for tests of one fault; what they did is judged at the end of each."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg

from poolguard.client import Term
from poolguard.core.errors import LeaseLost, PoolguardError
from poolguard.demo.ports import free_port
from tests.support.cluster import Database
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.history import Healed, History, Wrote, boottime
from tests.support.invariants import violations
from tests.support.network import Network
from tests.support.proxy import Proxy
from tests.support.recorder import Recorder

ADMIN_TOKEN = "let-me-in"
TTL = 2.0
"""The shortest term there is: a second of it is trusted."""

_FENCED = """
WITH fence AS (
  SELECT name, token FROM poolguard.lease
   WHERE name = %s AND token = %s AND expires_at > clock_timestamp() FOR KEY SHARE
) INSERT INTO written (name, token) SELECT name, token FROM fence
"""


@dataclass
class Pod:
    """A sidecar that keeps its port over restarts."""

    settings: Mapping[str, Any]
    daemon: Daemon = field(init=False)

    def start(self) -> None:
        """Start a process."""
        self.daemon = Daemon(self.settings)
        self.daemon.start()
        self.daemon.wait_until_it_runs()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings['listen']['control']['port']}"


@dataclass
class Scene:
    """One test's world. `close` ends it, `judge` says whether its history was a right one."""

    database: Database
    history: History = field(default_factory=History)
    written: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)
    _network: Network | None = None
    _pods: list[Pod] = field(default_factory=list)

    # Who there is.

    def pod(self, url: str | None = None, **settings: Any) -> Pod:
        """A sidecar on the test's database, or on *url*."""
        pod = Pod(
            {
                "upstream": {"url": url or self.database.url, "connect_timeout": "2s"},
                "listen": {"control": {"host": "127.0.0.1", "port": free_port()}},
                "pools": {"app": {"size": 2}},
                "auth": {"admin_token": ADMIN_TOKEN},
                **settings,
            }
        )
        self._pods.append(pod)
        pod.start()
        return pod

    @property
    def network(self) -> Network:
        """The loop that proxies run on."""
        if self._network is None:
            self._network = Network()
            self._stack.callback(self._network.close)
        return self._network

    def way(self, host: str, port: int) -> Proxy:
        """A way to *host* that can be broken."""
        proxy = self.network.proxy(host, port)
        self._stack.callback(lambda: self.network.do(proxy.stop()))
        return proxy

    def pod_behind(self, proxy: Proxy, **settings: Any) -> Pod:
        """A sidecar whose PostgreSQL is behind *proxy*."""
        return self.pod(f"postgresql://{self.database.user}@127.0.0.1:{proxy.port}/{self.database.name}", **settings)

    def holder(self, pod: Pod, name: str = "") -> Recorder:
        """An application beside *pod*."""
        recorder = Recorder(pod.url, name or f"holder-{uuid4().hex[:6]}", self.history)
        self._stack.callback(recorder.close)
        return recorder

    # What they do.

    def elected(self, holder: Recorder, name: str = "a", *, ttl: float = TTL, within: float = 20.0) -> Term:
        """Stand until elected, as an application would."""
        request_id = str(uuid4())

        def tried() -> Term | None:
            nonlocal request_id
            try:
                term = holder.acquire(name, ttl=ttl, request_id=request_id)
            except LeaseLost:
                request_id = str(uuid4())
                return None
            except PoolguardError:
                return None
            if not term.trusted:
                request_id = str(uuid4())
                return None
            return term

        return eventually(tried, within=within, every=0.05)  # type: ignore[return-value]

    def healed(self, *names: str, ttl: float = TTL) -> None:
        """The fault is over: a leader must come within a term and a second."""
        for name in names or ("a",):
            self.history.note(Healed(name=name, at=boottime(), within=ttl + 1.0))

    def write(self, term: Term, url: str | None = None) -> bool:
        """Write something that *term* fences; whether it was let through."""
        with psycopg.connect(url or self.database.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS written (name text, token bigint)")
            wrote = connection.execute(_FENCED, [term.name, term.token]).rowcount == 1
        if wrote:
            self.written += 1
            self.history.note(Wrote(name=term.name, token=term.token, order=self.written))
        return wrote

    # Its end.

    def logs(self) -> str:
        """What all sidecars said."""
        return "\n".join(pod.daemon.log_text() for pod in self._pods if hasattr(pod, "daemon"))

    def close(self) -> None:
        """End everything."""
        for pod in self._pods:
            if hasattr(pod, "daemon"):
                pod.daemon.close()
        self._stack.close()

    def judge(self, *, excused: str = "") -> None:
        """Fail for any invariant that did not hold, but the *excused* one."""
        found = [each for each in violations(self.history) if each.invariant != excused]
        assert not found, "\n".join(map(str, found))
