"""psql, as somebody at a terminal uses it: one process per scenario, spoken to through a pipe."""

import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from report import LEAK, LEAKY, MANY, ROWS, TARGET, Admin, main, same

ADMIN = Admin()
END = "--end--"


class Psql:
    """One psql, which ends with *exit_code*; `asks` gives it a line and returns what it printed, errors included."""

    def __init__(self, url: str = TARGET, *, exit_code: int = 0) -> None:
        self._exit_code = exit_code
        self._process = subprocess.Popen(
            ["psql", "-XAtq", "--set=VERBOSITY=verbose", url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.last_words()
        same(self._process.wait(10), self._exit_code)

    def tell(self, line: str) -> None:
        """Send a line; its output comes with the next `hears`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n\\echo {END}\n")
        self._process.stdin.flush()

    def hears(self) -> str:
        """What was printed for the last line."""
        assert self._process.stdout is not None
        heard = []
        while (line := self._process.stdout.readline()) != f"{END}\n":
            assert line, f"psql has ended: {heard}"
            heard.append(line)
        return "".join(heard)

    def asks(self, line: str) -> str:
        self.tell(line)
        return self.hears()

    def last_words(self) -> str:
        """All that it prints until it ends."""
        assert self._process.stdout is not None
        return self._process.stdout.read()

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)


def has(text: str, part: str) -> None:
    assert part in text, f"no {part!r} in {text!r}"


def transactions() -> None:
    with Psql() as psql:
        psql.asks("BEGIN; INSERT INTO notes (mark) VALUES ('kept'); COMMIT;")
        psql.asks("BEGIN;")
        psql.asks("INSERT INTO notes (mark) VALUES ('undone');")
        has(psql.asks("SELECT 1/0;"), "22012")
        has(psql.asks("SELECT 1;"), "25P02")
        psql.asks("ROLLBACK;")
        psql.asks("\\set ON_ERROR_ROLLBACK on")
        psql.asks("BEGIN ISOLATION LEVEL SERIALIZABLE;")
        psql.asks("INSERT INTO notes (mark) VALUES ('kept');")
        has(psql.asks("SELECT 1/0;"), "22012")
        same(psql.asks("SHOW transaction_isolation;"), "serializable\n")
        psql.asks("COMMIT;")
        has(psql.asks("COMMIT;"), "25P01")
        same(psql.asks("SELECT 1 \\; SELECT 2;"), "1\n2\n")
        has(psql.asks("\\d notes"), "mark|text")
    same((ADMIN.marks("kept"), ADMIN.marks("undone")), (2, 0))


def prepared() -> None:
    with Psql() as one, Psql() as two:
        for number in range(MANY):
            for psql in (one, two):
                psql.asks(f"PREPARE s{number} (int) AS SELECT $1 + {number};")
        for number in range(MANY):
            for psql in (one, two):
                same(psql.asks(f"EXECUTE s{number} ({number});"), f"{2 * number}\n")
        one.asks("DISCARD ALL;")
        has(one.asks("EXECUTE s0 (1);"), "26000")
        one.asks("\\set FETCH_COUNT 100")
        same(one.asks("SELECT count(*) FROM (SELECT generate_series(1, 1000)) s;"), "1000\n")
        same(len(one.asks("SELECT generate_series(1, 1000);").split()), 1000)


def copy() -> None:
    with tempfile.TemporaryDirectory() as folder, Psql() as psql:
        source, target = Path(folder) / "in", Path(folder) / "out"
        source.write_text("".join(f"copied\t{number}\n" for number in range(ROWS)))
        psql.asks(f"\\copy notes (mark, number) from '{source}'")
        psql.asks(f"\\copy (select mark, number from notes where mark = 'copied' order by 2) to '{target}'")
        same(target.read_text(), source.read_text())
        source.write_text("bad\t1\nbad\tx\n")
        has(psql.asks(f"\\copy notes (mark, number) from '{source}'"), "22P02")
        same(psql.asks("SELECT 1;"), "1\n")
    same(ADMIN.marks("bad"), 0)


def cancel() -> None:
    """Ctrl-C; one that reads from a pipe ends then."""
    with Psql(exit_code=3) as psql:
        psql.asks("BEGIN;")
        psql.tell("SELECT pg_sleep(60);")
        ADMIN.wait_until_it_sleeps()
        psql.interrupt()
        ADMIN.nothing_sleeps()


def listen() -> None:
    with Psql() as psql:
        psql.asks("LISTEN news;")
        ADMIN.notify("news", "0")
        heard = psql.asks("NOTIFY news, 'own';")
        while '"own"' not in heard or '"0"' not in heard:
            heard += psql.asks("SELECT pg_sleep(0.01);")


def large() -> None:
    with Psql() as psql:
        same(len(psql.asks("SELECT repeat('x', 8000000);")), 8_000_001)
        same(len(psql.asks(f"SELECT n, repeat('x', 100) FROM generate_series(1, {ROWS}) n;").splitlines()), ROWS)


def reconnect() -> None:
    """One that reads from a pipe says that it has lost the connection, and ends."""
    with Psql(exit_code=2) as psql:
        psql.asks("BEGIN;")
        ADMIN.kill(int(psql.asks("SELECT pg_backend_pid();")))
        psql.tell("SELECT 1;")
        has(psql.last_words(), "57P01")
    with Psql() as psql:
        same(psql.asks("SELECT 1;"), "1\n")


def leaked_then_statement() -> None:
    with Psql(LEAKY) as psql:
        psql.asks("BEGIN;")
        psql.asks(f"{LEAK};")
        ADMIN.wait_until_rolled_back()
        has(psql.asks("INSERT INTO notes (mark) VALUES ('rest');"), "25P03")
        has(psql.asks("INSERT INTO notes (mark) VALUES ('rest');"), "25P02")
        psql.asks("ROLLBACK;")
        same(psql.asks("SELECT 1;"), "1\n")
    same((ADMIN.marks("leaked"), ADMIN.marks("rest")), (0, 0))


def leaked_then_commit() -> None:
    with Psql(LEAKY) as psql:
        psql.asks("BEGIN;")
        psql.asks(f"{LEAK};")
        ADMIN.wait_until_rolled_back()
        has(psql.asks("COMMIT;"), "25P03")
        same(psql.asks("SELECT 1;"), "1\n")
    same(ADMIN.marks("leaked"), 0)


def leaked_in_block() -> None:
    """The rest and its COMMIT in one go; and with ON_ERROR_ROLLBACK, whose savepoint went with the transaction."""
    with Psql(LEAKY) as psql:
        psql.asks("BEGIN;")
        psql.asks(f"{LEAK};")
        ADMIN.wait_until_rolled_back()
        has(psql.asks("INSERT INTO notes (mark) VALUES ('rest') \\; COMMIT;"), "25P03")
        psql.asks("ROLLBACK;")
        psql.asks("\\set ON_ERROR_ROLLBACK on")
        psql.asks("BEGIN;")
        psql.asks(f"{LEAK};")
        ADMIN.wait_until_rolled_back()
        has(psql.asks("INSERT INTO notes (mark) VALUES ('rest');"), "25P03")
        psql.asks("INSERT INTO notes (mark) VALUES ('rest');")
        psql.asks("ROLLBACK;")
        psql.asks("INSERT INTO notes (mark) VALUES ('after');")
    same((ADMIN.marks("leaked"), ADMIN.marks("rest"), ADMIN.marks("after")), (0, 0, 1))


main(
    transactions,
    prepared,
    copy,
    cancel,
    listen,
    large,
    reconnect,
    leaked_then_statement,
    leaked_then_commit,
    leaked_in_block,
)
