"""What one process takes. The figures are printed (`pytest -s`); the bounds are wide, the bench measures closely."""

from contextlib import ExitStack
from typing import Any, Final

from tests.integration.daemon.conftest import Run

MIB: Final = 1024 * 1024
IDLE_BYTES: Final = 96 * MIB
CLIENTS: Final = 200
BYTES_OF_A_CLIENT: Final = 64 * 1024


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
