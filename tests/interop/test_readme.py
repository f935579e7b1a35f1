"""What README tells applications to write: put into a program, run, and nothing changed but the port."""

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.interop.conftest import POOLS
from tests.interop.toolchains import HERE, Go, Node, Python
from tests.support.cluster import Server
from tests.support.daemon import Daemon

README: Final = Path(__file__).parents[2] / "README.md"
BUILD_SECONDS: Final = 300

GO: Final = """package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

func main() {
	ctx := context.Background()
%s
	if err != nil {
		panic(err)
	}
	for _, pool := range []*pgxpool.Pool{elections, app} {
		if err := pool.Ping(ctx); err != nil {
			panic(err)
		}
		fmt.Println(pool.Config().MaxConns, jobs != nil)
	}
}
"""
PRISMA: Final = """
import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "@prisma/client";
%s
console.log(JSON.stringify(await prisma.$queryRawUnsafe("SELECT 7 AS seven")));
await prisma.$disconnect();
"""


def snippet(language: str) -> str:
    """The block of that language in the part about connecting."""
    connect = README.read_text().partition("## Connect")[2].partition("\n## ")[0]
    found = re.findall(rf"^```{language}\n(.*?)^```", connect, flags=re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"README shows {len(found)} blocks of {language}"
    return str(found[0])


@pytest.fixture(scope="module")
def daemon(pg: Server) -> Iterator[Daemon]:
    with pg.fresh_database() as database:
        pools = {"app": POOLS["transaction"], "election": POOLS["transaction"]}
        made = Daemon({"upstream": {"url": database.url}, "pools": pools, "policies": {"patient": {}}})
        try:
            made.start()
            made.wait_until_it_runs()
            yield made
        finally:
            made.close()


def run(command: list[str], folder: Path) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(700)
def test_go_and_river(daemon: Daemon, tmp_path: Path) -> None:
    Go().command("river")  # skips where there is no Go; its modules are there afterwards
    for name in ("go.mod", "go.sum"):
        shutil.copy(HERE / "go" / name, tmp_path)
    (tmp_path / "main.go").write_text(GO % snippet("go").replace("6432", str(daemon.clients_port)))
    assert run(["go", "run", "."], tmp_path).splitlines() == ["8 true", "60 true"]


@pytest.mark.timeout(700)
def test_prisma(daemon: Daemon) -> None:
    folder = Path(Node().command("prisma.mjs")[1]).parent
    program = PRISMA % snippet("ts").replace("6432", str(daemon.clients_port))
    assert run(["node", "--input-type=module", "-e", program], folder) == '[{"seven":7}]\n'


def test_django(daemon: Daemon, tmp_path: Path) -> None:
    Python().command("django_.py")  # skips where there is no Django
    shown = snippet("python").replace("6432", str(daemon.clients_port))
    settings: dict[str, Any] = ast.literal_eval(shown.partition("DATABASES = ")[2])
    program = (
        f"from django.conf import settings\nsettings.configure(DATABASES={settings!r})\nimport django\ndjango.setup()\n"
        "from django.db import connection\n"
        "with connection.cursor() as cursor:\n    cursor.execute('SELECT 7')\n    print(cursor.fetchone()[0])\n"
    )
    assert run([*Python().command("django_.py")[:1], "-c", program], tmp_path) == "7\n"


def test_laravel_s_environment_is_what_a_connection_string_would_say(daemon: Daemon) -> None:
    """Through the PDO that Laravel's pgsql connector makes of these variables."""
    connect = README.read_text().partition("**Laravel**")[2]
    given = dict(re.findall(r"^(DB_\w+)=(\S+)$", connect, flags=re.MULTILINE))
    assert given.pop("DB_CONNECTION") == "pgsql"
    host, database, user = given["DB_HOST"], given["DB_DATABASE"], given["DB_USERNAME"]
    program = f"echo (new PDO('pgsql:host={host};port={daemon.clients_port};dbname={database}', '{user}'))->query('SELECT 7')->fetchColumn();"
    if shutil.which("php") is None:
        pytest.skip("no php on PATH: apt-get install php-cli php-pgsql")
    assert run(["php", "-r", program], HERE) == "7"
