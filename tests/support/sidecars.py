"""A daemon for tests of what talks to its lease API: started once for each test module that asks."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from poolguard.client import LeaseClient
from tests.support import cluster
from tests.support.cluster import Database
from tests.support.daemon import Daemon

ADMIN_TOKEN = "let-me-in"


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A running daemon and the database behind it."""

    daemon: Daemon
    database: Database

    @property
    def url(self) -> str:
        return self.daemon.control_url

    def client(self) -> LeaseClient:
        """A client that may do everything."""
        return LeaseClient(self.url, admin_token=ADMIN_TOKEN)

    def force(self, name: str) -> None:
        """End the term of *name*, over its holder's head."""
        with self.client() as client:
            client.force_release(name)

    def holder_of(self, name: str) -> str | None:
        """Who holds *name* according to PostgreSQL."""
        with self.client() as client:
            lease = client.get(name)
        return lease["holderIdentity"] if lease is not None and lease["validForMs"] > 0 else None


@pytest.fixture(scope="module")
def sidecar(pg: cluster.Server) -> Iterator[Sidecar]:
    """Import it into a conftest to have it there."""
    with pg.fresh_database() as database:
        daemon = Daemon(
            {
                "upstream": {"url": database.url},
                "pools": {"app": {"size": 2}},
                "auth": {"admin_token": ADMIN_TOKEN},
            }
        )
        try:
            daemon.start()
            daemon.wait_until_it_runs()
            yield Sidecar(daemon, database)
        finally:
            daemon.close()
