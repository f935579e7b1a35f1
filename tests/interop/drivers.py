"""Which drivers there are, in which program, and which scenarios each one has to tell of."""

from dataclasses import dataclass
from typing import Final

from tests.interop.toolchains import Go, Java, Node, Php, Python, Toolchain
from tests.support.running import MODES

DIRECT: Final = "direct"
TARGETS: Final = (DIRECT, *MODES)
"""PostgreSQL itself, which is the oracle, and a pool of each mode."""

BASIC: Final = ("transactions", "prepared", "cancel", "large", "reconnect")
LEAKED: Final = ("leaked_then_statement", "leaked_then_commit", "leaked_in_block")
"""Case G11; only where there is a guard, so not directly."""

COPY: Final = "copy"
CROWD: Final = "crowd"
LISTEN: Final = "listen"
PIPELINE: Final = "pipeline"


@dataclass(frozen=True, slots=True)
class Driver:
    """One driver: its name here and in docs/drivers.md, how its program is built and started, what the program tells of."""

    name: str
    toolchain: Toolchain
    program: str
    scenarios: tuple[str, ...]

    def scenarios_on(self, target: str) -> tuple[str, ...]:
        """What the program tells of when it runs against *target*."""
        return tuple(name for name in self.scenarios if target != DIRECT or not name.startswith("leaked"))


PYTHON: Final = Python()
GO: Final = Go()
NODE: Final = Node()
PHP: Final = Php()
JAVA: Final = Java()

DRIVERS: Final = (
    Driver("psycopg", PYTHON, "psycopg3.py", (*BASIC, COPY, LISTEN, PIPELINE, CROWD, *LEAKED)),
    Driver("psycopg2", PYTHON, "psycopg_2.py", (*BASIC, COPY, LISTEN, CROWD, *LEAKED)),
    Driver("asyncpg", PYTHON, "asyncpg_.py", (*BASIC, COPY, LISTEN, PIPELINE, CROWD, *LEAKED)),
    Driver("pg8000", PYTHON, "pg8000_.py", (*BASIC, COPY, LISTEN, *LEAKED)),
    Driver("SQLAlchemy", PYTHON, "sqlalchemy_.py", (*BASIC, CROWD, *LEAKED)),
    Driver("Django", PYTHON, "django_.py", (*BASIC, CROWD, "cursors", *LEAKED)),
    Driver("libpq", PYTHON, "libpq.py", (*BASIC, COPY, LISTEN, PIPELINE, *LEAKED)),
    Driver("psql", PYTHON, "psql.py", (*BASIC, COPY, LISTEN, *LEAKED)),
    Driver("pgx", GO, "pgx", (*BASIC, COPY, LISTEN, PIPELINE, CROWD, *LEAKED)),
    Driver("lib-pq", GO, "pq", (*BASIC, COPY, LISTEN, CROWD, *LEAKED)),
    Driver("River", GO, "river", ("work", "leader")),
    Driver("node-postgres", NODE, "pg.mjs", (*BASIC, COPY, LISTEN, CROWD, *LEAKED)),
    Driver("postgres.js", NODE, "postgresjs.mjs", (*BASIC, COPY, LISTEN, PIPELINE, CROWD, *LEAKED)),
    Driver("Prisma", NODE, "prisma.mjs", ("transactions", "prepared", "large", "reconnect", CROWD, *LEAKED)),
    Driver(
        "PDO", PHP, "pdo.php", ("transactions", "prepared", "large", "reconnect", COPY, LISTEN, "emulated", *LEAKED)
    ),
    Driver("pgjdbc", JAVA, "Pgjdbc", (*BASIC, COPY, LISTEN, PIPELINE, CROWD, *LEAKED)),
)
