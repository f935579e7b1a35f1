"""What initdb and postgres are told: command lines, environment and signals, as values."""

import signal
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from poolguard.demo.binaries import Binaries

SUPERUSER: Final = "postgres"

SETTINGS: Final[Mapping[str, str]] = {
    # The data is thrown away: nothing has to survive a crash of the machine.
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    # Files in the data folder, so that kill -9 leaves nothing behind in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
    "log_line_prefix": "%m [%p] %a ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

# LANGUAGE counts where `lc_messages` is not C: a server that speaks another language, with no locale to be generated.
_PASSED_ON: Final = ("LANGUAGE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PATH", "TMPDIR")


class AuthMethod(StrEnum):
    """How everybody logs in, on TCP and on the Unix socket: the names of pg_hba.conf."""

    TRUST = "trust"
    SCRAM = "scram-sha-256"


class StopMode(StrEnum):
    """PostgreSQL's three ways to stop (PostgreSQL docs, 18.5)."""

    SMART = "smart"
    """Waits until all clients have left."""
    FAST = "fast"
    """Rolls back and disconnects."""
    IMMEDIATE = "immediate"
    """Recovers at the next start."""

    @property
    def signal(self) -> signal.Signals:
        """What the postmaster is sent."""
        return _STOP_SIGNALS[self]


_STOP_SIGNALS: Final = {
    StopMode.SMART: signal.SIGTERM,
    StopMode.FAST: signal.SIGINT,
    StopMode.IMMEDIATE: signal.SIGQUIT,
}


def initdb_command(binaries: Binaries, data_folder: Path, auth: AuthMethod, password_file: Path | None) -> list[str]:
    """Make a cluster with UTF8 and locale C, so that sorting is the same on every machine."""
    command = [str(binaries.tool("initdb")), "-D", str(data_folder), "-U", SUPERUSER, f"--auth={auth.value}"]
    command += ["--encoding=UTF8", "--locale=C", "--no-sync"]
    if password_file is not None:
        command.append(f"--pwfile={password_file}")
    return command


def server_command(
    binaries: Binaries, data_folder: Path, settings: Mapping[str, str], *, host: str, port: int, sockets: Path
) -> list[str]:
    """Run the server of *data_folder*; where it listens is not for *settings* to say."""
    place = {"listen_addresses": host, "port": str(port), "unix_socket_directories": str(sockets)}
    command = [str(binaries.tool("postgres")), "-D", str(data_folder)]
    for name, value in {**settings, **place}.items():
        command += ["-c", f"{name}={value}"]
    return command


def environment(binaries: Binaries, environ: Mapping[str, str]) -> dict[str, str]:
    """Keep of *environ* only what programs need to run: PGDATA, PGPORT and the like would change what they do."""
    kept = {name: environ[name] for name in _PASSED_ON if name in environ}
    icu = binaries.folder.parent / "share" / "icu"
    if icu.is_dir():
        kept["ICU_DATA"] = str(icu)  # Alpine's ICU reads its data from a file beside it
    return kept | {"LC_ALL": "C", "TZ": "UTC"}
