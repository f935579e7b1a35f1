"""What happens to poolguard meanwhile: backends are killed, PostgreSQL is restarted and crashes, settings change."""

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import psycopg

from poolguard.demo.postgres import EmbeddedPostgres
from tests.support.daemon import Daemon

KILL: Final = (
    "select pg_terminate_backend(pid) from pg_stat_activity "
    "where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' "
    "order by random() limit 1"
)
RESTART_EVERY: Final = 45.0


class Trouble:
    """Makes it by lot until the time is up."""

    def __init__(
        self, postgres: EmbeddedPostgres, dsn: str, daemon: Daemon, settings: dict[str, Any], seed: int
    ) -> None:
        self.made: Final[Counter[str]] = Counter()
        self._postgres = postgres
        self._dsn = dsn
        self._daemon = daemon
        self._settings = settings
        self._chance = random.Random(seed)

    def make(self, until: float, say: Callable[[str], None]) -> None:
        """Until the monotonic clock says *until*; the last seconds are quiet."""
        restart_at = time.monotonic() + RESTART_EVERY / 3
        while time.monotonic() < until:
            time.sleep(self._chance.uniform(0.05, 0.6))
            if time.monotonic() >= restart_at and time.monotonic() < until - 5:
                self._restart()
                restart_at = time.monotonic() + RESTART_EVERY
                say(f"{dict(self.made)}")
            elif self._chance.random() < 0.05:
                self._reload()
            else:
                with (
                    suppress(psycopg.OperationalError),
                    psycopg.connect(self._dsn, autocommit=True, connect_timeout=10) as admin,
                ):
                    self.made["backends killed"] += admin.execute(KILL).rowcount

    def _restart(self) -> None:
        if self._chance.random() < 0.5:
            self._postgres.kill()
            self.made["crashes"] += 1
        else:
            self._postgres.stop()
            self.made["restarts"] += 1
        time.sleep(self._chance.uniform(0.0, 1.5))
        self._postgres.start()

    def _reload(self) -> None:
        app = {**self._settings["pools"]["app"], "size": self._chance.randrange(3, 9)}
        self._daemon.write({**self._settings, "pools": {**self._settings["pools"], "app": app}})
        self.made["reloads"] += 1
