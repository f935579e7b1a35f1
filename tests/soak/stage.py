"""What a run plays on: one PostgreSQL, sidecars whose way to it can be broken, and threads for both."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from poolguard.demo.ports import free_port
from poolguard.demo.postgres import EmbeddedPostgres
from tests.support import scene
from tests.support.network import Network
from tests.support.proxy import Proxy

POSTGRES: Final = {"max_connections": "300", "track_commit_timestamp": "on", "shared_buffers": "64MB"}
ADMIN_TOKEN: Final = "soak"


@dataclass
class Pod(scene.Pod):
    """One sidecar and its way to PostgreSQL."""

    name: str
    proxy: Proxy


@contextmanager
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of our own."""
    with EmbeddedPostgres(settings=POSTGRES) as running:
        yield running


def pod_settings(host: str, port: int, user: str, **more: Any) -> dict[str, Any]:
    """Settings of a sidecar whose PostgreSQL is at *host*:*port*."""
    return {
        "upstream": {"url": f"postgresql://{user}@{host}:{port}/postgres"},
        "listen": {"control": {"host": "127.0.0.1", "port": free_port()}},
        "pools": {"app": {"size": 2}},
        "auth": {"admin_token": ADMIN_TOKEN},
        **more,
    }


@contextmanager
def pods(running: EmbeddedPostgres, network: Network, count: int) -> Iterator[list[Pod]]:
    """*count* sidecars, each with a way of its own."""
    made: list[Pod] = []
    try:
        for number in range(count):
            proxy = network.proxy(running.host, running.port)
            pod = Pod(pod_settings("127.0.0.1", proxy.port, running.user), f"pod-{number}", proxy)
            made.append(pod)
        with ThreadPoolExecutor(count) as threads:
            list(threads.map(Pod.start, made))
        yield made
    finally:
        for pod in made:
            if hasattr(pod, "daemon"):
                pod.daemon.close()
            network.do(pod.proxy.stop())
