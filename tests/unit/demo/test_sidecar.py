"""The demo's poolguard is this very package, pointed at nothing but the demo's PostgreSQL."""

from pathlib import Path

import poolguard
from poolguard.demo.sidecar import child_environment, json_lines


def test_nothing_of_the_callers_own_databases_reaches_it() -> None:
    environ = {"PATH": "/bin", "PGHOST": "prod", "DATABASE_URL": "postgresql://prod", "POOLGUARD_CONFIG": "x"}
    assert set(child_environment(environ)) == {"PATH", "PYTHONPATH"}


def test_it_finds_this_package_before_any_other() -> None:
    home = str(Path(poolguard.__file__).parents[1])
    assert child_environment({})["PYTHONPATH"] == home
    assert child_environment({"PYTHONPATH": "/other"})["PYTHONPATH"] == f"{home}:/other"


def test_log_lines_that_are_no_json_are_passed_over() -> None:
    assert json_lines('{"message": "a"}\nTraceback\n[1]\n{"message": "b"}\n{"mess') == [
        {"message": "a"},
        {"message": "b"},
    ]
