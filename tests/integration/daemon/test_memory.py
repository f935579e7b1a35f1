"""What one process takes. The figures are printed (`pytest -s`); the bench measures more closely."""

import re
import sys
from contextlib import ExitStack
from typing import Any, Final

from tests.integration.daemon.conftest import Run
from tests.support.daemon import Daemon

MIB: Final = 1024 * 1024
IDLE_BYTES: Final = (64 if sys.version_info < (3, 12) else 66) * MIB
"""The promise, in docs/design.md. Later Pythons map up to 2 MiB more of themselves, by what the kernel has cached."""
CLIENTS: Final = 200
BYTES_OF_A_CLIENT: Final = 16 * 1024

READS_SETTINGS: Final = {"pydantic", "pydantic_core", "yaml"}


def imported(daemon: Daemon) -> set[str]:
    """The modules that it has imported: with PYTHONPROFILEIMPORTTIME each is a line of its log."""
    lines = re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", daemon.log_text(), re.MULTILINE)
    return set(lines)


def test_an_idle_process_and_its_idle_clients_are_small(run: Run, settings: dict[str, Any]) -> None:
    daemon = run(settings)
    idle = daemon.metric("process_resident_memory_bytes")
    with ExitStack() as stack:
        for index in range(CLIENTS):
            client = stack.enter_context(daemon.connect("app", autocommit=True, application_name=f"client-{index}"))
            client.execute("SELECT 1")
        assert daemon.pool("app")["sessions"] == CLIENTS
        busy = daemon.metric("process_resident_memory_bytes")
    of_each = (busy - idle) / CLIENTS
    print(f"\nRSS idle {idle / MIB:.1f} MiB; {of_each / 1024:.1f} KiB for each of {CLIENTS} idle clients")
    assert idle < IDLE_BYTES
    assert of_each < BYTES_OF_A_CLIENT


def test_what_is_needed_only_now_and_then_is_not_held(run: Run, settings: dict[str, Any]) -> None:
    """Neither after the start nor after a reload. anyio's backend would come with watchfiles' own `awatch`."""
    daemon = run(settings, environ={"PYTHONPROFILEIMPORTTIME": "1"})
    daemon.write({**settings, "privacy": {"statement_text": False}})
    daemon.told("settings reloaded")
    modules = imported(daemon)
    assert {"poolguard.daemon.main", "watchfiles", "psycopg"} <= modules
    assert not modules & {*READS_SETTINGS, "anyio._backends", "poolguard.demo", "difflib"}
