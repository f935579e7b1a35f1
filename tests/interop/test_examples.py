"""examples/fence in pgx and Prisma: each writes as the holder of a lease, and not under the token of an earlier term."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.interop.drivers import GO, NODE
from tests.interop.toolchains import BUILD_SECONDS, HERE
from tests.support.sidecars import Sidecar, sidecar

__all__ = ["sidecar"]  # a fixture, used by its name

EXAMPLES: Final = Path(__file__).parents[2] / "examples" / "fence"


def pgx() -> tuple[Sequence[str], Path | None]:
    """As a program of the drivers' module, which pins pgx."""
    GO.command("pgx")
    return ["go", "run", str(EXAMPLES / "fence_pgx.go")], HERE / "go"


def prisma() -> tuple[Sequence[str], Path | None]:
    """Beside the drivers' packages: Node looks for them from where the program lies."""
    command = NODE.command("fence_prisma.mjs")
    shutil.copyfile(EXAMPLES / "fence_prisma.mjs", command[-1])
    return command, None


@pytest.mark.timeout(BUILD_SECONDS)
@pytest.mark.parametrize("how", [pgx, prisma], ids=lambda how: str(how.__name__))
def test_a_fenced_write_needs_the_term_that_runs(
    sidecar: Sidecar,
    how: Callable[[], tuple[Sequence[str], Path | None]],
) -> None:
    command, folder = how()
    name = f"fence/{how.__name__}"
    with sidecar.client() as client, sidecar.database.connect() as admin:
        admin.execute("CREATE TABLE IF NOT EXISTS fenced (name text, token bigint)")
        earlier = client.acquire(name, holder="one")
        client.release(earlier)
        token = client.acquire(name, holder="two", ttl_seconds=120).token

        def write(under: int) -> subprocess.CompletedProcess[str]:
            environ = {
                **os.environ,
                "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{sidecar.daemon.clients_port}/app",
            }
            return subprocess.run(
                [*command, name, str(under)], cwd=folder, env=environ, capture_output=True, text=True, timeout=60
            )

        done, refused = write(token), write(earlier.token)
        assert (done.returncode, done.stderr) == (0, "")
        assert refused.returncode == 1
        assert "not the holder any more" in refused.stderr
        assert admin.execute("SELECT token FROM fenced WHERE name = %s", [name]).fetchall() == [(token,)]
