"""One place where PostgreSQL may be."""

import pytest

from poolguard.upstream.endpoint import Endpoint, SessionAttrs


@pytest.mark.parametrize(
    ("endpoint", "is_unix", "shown"),
    [
        (Endpoint(host="db", port=5433), False, "db:5433"),
        (Endpoint(host="::1"), False, "[::1]:5432"),
        (Endpoint(host="", hostaddr="10.0.0.1"), False, "10.0.0.1:5432"),
        (Endpoint(host="/tmp"), True, "/tmp/.s.PGSQL.5432"),
        (Endpoint(host="/tmp", hostaddr="10.0.0.1"), False, "/tmp:5432"),
        (Endpoint(host="@pg"), True, "@pg/.s.PGSQL.5432"),
    ],
)
def test_an_endpoint_is_tcp_or_a_unix_socket(endpoint: Endpoint, is_unix: bool, shown: str) -> None:
    assert (endpoint.is_unix, str(endpoint)) == (is_unix, shown)


def test_an_abstract_socket_begins_with_a_zero_byte() -> None:
    assert Endpoint(host="@pg", port=1).socket_path == "\0pg/.s.PGSQL.1"
    assert Endpoint(host="/tmp", port=1).socket_path == "/tmp/.s.PGSQL.1"


def test_a_password_does_not_show() -> None:
    assert "secret" not in repr(Endpoint(host="h", password="secret"))


PRIMARY = {"in_hot_standby": "off", "default_transaction_read_only": "off"}
STANDBY = {"in_hot_standby": "on", "default_transaction_read_only": "off"}
READ_ONLY = {"in_hot_standby": "off", "default_transaction_read_only": "on"}


@pytest.mark.parametrize(
    ("attrs", "primary", "standby", "read_only", "unknown"),
    [
        (SessionAttrs.ANY, True, True, True, True),
        (SessionAttrs.READ_WRITE, True, False, False, False),
        (SessionAttrs.READ_ONLY, False, True, True, False),
        (SessionAttrs.PRIMARY, True, False, True, False),
        (SessionAttrs.STANDBY, False, True, False, False),
    ],
)
def test_target_session_attrs_mean_what_they_mean_to_libpq(
    attrs: SessionAttrs, primary: bool, standby: bool, read_only: bool, unknown: bool
) -> None:
    judged = [attrs.accepts(reported) for reported in (PRIMARY, STANDBY, READ_ONLY, {})]
    assert judged == [primary, standby, read_only, unknown]
