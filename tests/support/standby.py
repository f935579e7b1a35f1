"""A real standby: copied from a running server, replicating asynchronously, promoted when a test says so."""

from collections.abc import Callable, Sequence
from typing import Final

import pytest

from poolguard.demo.postgres import EmbeddedPostgres
from tests.support.eventually import eventually

POSTGRES: Final = {"max_wal_senders": "5", "wal_level": "replica", "hot_standby": "on"}
"""What the server needs that is copied."""


class Standby(EmbeddedPostgres):
    """Replicates from *host*:*port*, a way that *cut_off* ends: what comes later is lost when this is promoted."""

    def __init__(self, user: str, host: str, port: int, *, cut_off: Callable[[], None]) -> None:
        super().__init__(settings=POSTGRES)
        self.cut_off: Final = cut_off
        self._primary: Final = f"host={host} port={port} user={user}"

    def _run_initdb(self, argv: Sequence[str]) -> None:
        """A copy, in the place of a new cluster."""
        program = self.binaries.tool("postgres").resolve().parent / "pg_basebackup"
        if not program.exists():
            pytest.skip(f"no pg_basebackup beside the server in {program.parent}")
        copy = ["-D", str(self.data_folder), "-d", self._primary, "-R", "-X", "stream", "-c", "fast"]
        super()._run_initdb([str(program), *copy])

    def caught_up(self, primary: EmbeddedPostgres) -> None:
        """Wait until everything that *primary* has written is here."""
        with primary.connect() as admin:
            (written,) = admin.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone() or ("",)
        with self.connect() as admin:

            def replayed() -> bool:
                found = admin.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [written]).fetchone()
                return found == (True,)

            eventually(replayed, within=20.0)

    def promote(self) -> None:
        """As `pg_ctl promote`: returns when it writes."""
        with self.connect() as admin:
            assert admin.execute("SELECT pg_promote(true, 30)").fetchone() == (True,), "not promoted"
