"""How a session is asked for, and what PostgreSQL's errors mean."""

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from poolguard.core.errors import SettingsError
from poolguard.lease.connection import Fault, fault_of, parameters, timeline_of, told


def test_parameters_complete_what_was_given() -> None:
    given = conninfo_to_dict(parameters("postgresql://u:p@h:1/d?application_name=x&connect_timeout=9&sslmode=require"))
    assert (given["host"], given["password"], given["sslmode"], given["connect_timeout"]) == ("h", "p", "require", "9")
    assert given["application_name"] == "poolguard-lease"
    assert given["target_session_attrs"] == "read-write"
    assert given["tcp_user_timeout"] == "5000"


def test_unreadable_conninfo_is_told_without_its_content() -> None:
    with pytest.raises(SettingsError) as caught:
        parameters("host=h pass word=hush")
    assert "hush" not in f"{caught.value} {caught.value.hint} {caught.value.detail}"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "timeline"),
    [("000000010000000000000001", 1), ("0000002A0000000000000001", 42), ("FFFFFFFF0000000000000001", 0)],
)
def test_timeline_of_a_wal_file(name: str, timeline: int) -> None:
    assert timeline_of(name) == timeline


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (psycopg.OperationalError("the socket broke"), Fault.GONE),
        (psycopg.InterfaceError("a bug"), Fault.REFUSED),
        (psycopg.errors.AdminShutdown("x"), Fault.GONE),
        (psycopg.errors.ConnectionFailure("x"), Fault.GONE),
        (psycopg.errors.ReadOnlySqlTransaction("x"), Fault.READ_ONLY),
        (psycopg.errors.LockNotAvailable("x"), Fault.LOCKED),
        (psycopg.errors.SerializationFailure("x"), Fault.RETRY),
        (psycopg.errors.UndefinedTable("x"), Fault.NO_SCHEMA),
        (psycopg.errors.DiskFull("x"), Fault.REFUSED),
    ],
)
def test_fault_of(error: psycopg.Error, fault: Fault) -> None:
    assert fault_of(error) is fault


def test_errors_are_told_in_one_line_with_their_code() -> None:
    assert told(psycopg.errors.UndefinedTable("no such table\nLINE 1: SELECT")) == "UndefinedTable 42P01 no such table"
    both = psycopg.OperationalError(
        "Multiple connection attempts failed. All failures were:\n- ::1: refused\n- 127: no"
    )
    assert told(both).endswith("All failures were: - ::1: refused - 127: no"), "libpq says it in the lines below"
