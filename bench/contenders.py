"""The three that are compared, each in front of the same PostgreSQL: nothing, PgBouncer, poolguard.

Both poolers get the same limits: POOL_SIZE servers in transaction mode, no TLS, no password, loopback.
PgBouncer refuses to run as root and is then run as `nobody`.
"""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.processes import BenchError, Usage, accepts, end, usage_of, wait_until
from bench.workloads import POOL_SIZE, Workload
from poolguard.demo.ports import free_port

DIRECT: Final = "direct"
PGBOUNCER: Final = "pgbouncer"
POOLGUARD: Final = "poolguard"
NAMES: Final = (DIRECT, PGBOUNCER, POOLGUARD)
HOST: Final = "127.0.0.1"
MAX_CLIENTS: Final = 2000
POOLS: Final = {"election": 4, "jobs": POOL_SIZE, "app": POOL_SIZE}
"""poolguard's pools. pgbench uses `app`; the lease measurements exhaust all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The PostgreSQL that all of them talk to."""

    host: str
    port: int
    user: str
    database: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Where clients connect, and which process they then keep busy (0: no pooler)."""

    name: str
    host: str
    port: int
    user: str
    database: str
    version: str
    pid: int = 0
    control_port: int = 0
    """poolguard's HTTP: leases. 0 where there is none."""
    prepares: bool = True
    """Whether named prepared statements work through it."""
    log: Path = Path()

    def usage(self) -> Usage | None:
        """What its process has used so far; None where there is no process. Raises BenchError if it has gone."""
        return usage_of(self.pid, name=self.name, log=self.log) if self.pid else None

    def rss_bytes(self) -> int:
        """Resident memory of its process; 0 where there is none."""
        used = self.usage()
        return used.rss_bytes if used else 0

    def can_run(self, workload: Workload) -> bool:
        """Whether *workload* can be run through it at all."""
        return self.prepares or workload.protocol != "prepared"


def direct(upstream: Upstream, version: str) -> Contender:
    """No pooler: what is measured is PostgreSQL and pgbench."""
    return Contender(
        name=DIRECT,
        host=upstream.host,
        port=upstream.port,
        user=upstream.user,
        database=upstream.database,
        version=version,
    )


def find_pgbouncer(path: str | None = None) -> tuple[Path, tuple[int, int]] | None:
    """PgBouncer's binary and version (major, minor); None if no folder of *path* (PATH and the sbins) has it."""
    places = path or os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("pgbouncer", path=places)
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    return Path(found), parse_pgbouncer_version(said)


def parse_pgbouncer_version(text: str) -> tuple[int, int]:
    """Read (major, minor) from what `pgbouncer --version` prints."""
    found = re.search(r"PgBouncer (\d+)\.(\d+)", text)
    if found is None:
        raise BenchError(f"can't read PgBouncer's version from {text.strip()!r}: run with --without pgbouncer")
    return int(found[1]), int(found[2])


def pgbouncer_settings(upstream: Upstream, *, port: int, folder: Path, version: tuple[int, int]) -> str:
    """Write pgbouncer.ini. Named prepared statements in transaction mode exist since PgBouncer 1.21."""
    prepared = "max_prepared_statements = 200\n" if prepares(version) else ""
    return f"""[databases]
app = host={upstream.host} port={upstream.port} dbname={upstream.database}
[pgbouncer]
listen_addr = {HOST}
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder / "users.txt"}
pool_mode = transaction
default_pool_size = {POOL_SIZE}
max_client_conn = {MAX_CLIENTS}
ignore_startup_parameters = extra_float_digits
logfile = {folder / "pgbouncer.log"}
log_connections = 0
log_disconnections = 0
{prepared}"""


def prepares(version: tuple[int, int]) -> bool:
    """Whether this PgBouncer can do named prepared statements in transaction mode."""
    return version >= (1, 21)


@contextmanager
def pgbouncer(upstream: Upstream, binary: Path, version: tuple[int, int], folder: Path) -> Iterator[Contender]:
    """Run PgBouncer with its files in *folder*."""
    port = free_port()
    (folder / "users.txt").write_text(f'"{upstream.user}" ""\n')
    (folder / "pgbouncer.ini").write_text(pgbouncer_settings(upstream, port=port, folder=folder, version=version))
    nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    if nobody is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    process = subprocess.Popen(
        [str(binary), str(folder / "pgbouncer.ini")],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        user=nobody.pw_uid if nobody else None,
        group=nobody.pw_gid if nobody else None,
        extra_groups=[] if nobody else None,
    )  # fmt: skip
    try:
        wait_until(lambda: accepts(port), process, name="PgBouncer", log=folder / "pgbouncer.log")
        yield Contender(
            name=PGBOUNCER,
            host=HOST,
            port=port,
            user=upstream.user,
            database="app",
            version=f"{version[0]}.{version[1]}",
            pid=process.pid,
            prepares=prepares(version),
            log=folder / "pgbouncer.log",
        )
    finally:
        end(process)


def poolguard_settings(upstream: Upstream, *, clients: int, control: int, metrics: int) -> str:
    """Write poolguard's settings (as JSON, which is YAML). The guard judges, but nothing gets old enough."""
    patient = {"warn": "1h", "rollback": "2h"}
    return json.dumps(
        {
            "upstream": {"url": f"postgresql://{upstream.user}@{upstream.host}:{upstream.port}/{upstream.database}"},
            "listen": {
                "clients": {"host": HOST, "port": clients},
                "control": {"host": HOST, "port": control},
                "metrics": {"host": HOST, "port": metrics},
            },
            "pools": {
                name: {"size": size, "policy": "bench", "wait_timeout": "5s", "max_waiting": MAX_CLIENTS}
                for name, size in POOLS.items()
            },
            "policies": {
                "bench": {"idle_in_transaction": patient, "transaction_age": patient, "checkout_age": patient}
            },
            "log": {"level": "warning"},
        },
        indent=2,
    )


@contextmanager
def poolguard(upstream: Upstream, folder: Path, version: str) -> Iterator[Contender]:
    """Run `poolguard run` of this checkout's Python, as its users would."""
    clients, control, metrics = free_port(), free_port(), free_port()
    settings, log = folder / "poolguard.yaml", folder / "poolguard.log"
    settings.write_text(poolguard_settings(upstream, clients=clients, control=control, metrics=metrics))
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "poolguard", "run", "--config", str(settings)],
            stdin=subprocess.DEVNULL, stdout=written, stderr=written,
        )  # fmt: skip
    try:
        wait_until(lambda: accepts(clients) and accepts(control), process, name="poolguard", log=log)
        yield Contender(
            name=POOLGUARD,
            host=HOST,
            port=clients,
            user=upstream.user,
            database="app",
            version=version,
            pid=process.pid,
            control_port=control,
            log=log,
        )
    finally:
        end(process)
