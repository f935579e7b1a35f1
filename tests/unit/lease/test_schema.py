"""The DDL as text; that PostgreSQL takes it is in tests/integration/lease."""

import pytest

from poolguard.lease.schema import ddl, quoted


def test_identifiers_are_quoted() -> None:
    assert quoted('a"b') == '"a""b"'
    assert 'CREATE TABLE IF NOT EXISTS "my-app".lease (' in ddl("my-app")


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64, "ä" * 32])
def test_names_that_postgresql_lacks_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="PostgreSQL name"):
        quoted(name)


def test_every_statement_may_run_again() -> None:
    creating = [line for line in ddl("s").splitlines() if line.startswith("CREATE")]
    assert len(creating) == 4
    assert all("IF NOT EXISTS" in line or "OR REPLACE" in line for line in creating)
