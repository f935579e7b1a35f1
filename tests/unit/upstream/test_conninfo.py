"""libpq's connection strings; libpq itself (psycopg's) is the oracle for keyword/value pairs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from poolguard.core.errors import SettingsError
from poolguard.upstream.conninfo import keywords_of_environment, parse_conninfo, session_defaults, write_conninfo

STRINGS = [
    "postgresql://",
    "postgresql:///",
    "postgresql://localhost",
    "postgresql://localhost:5433",
    "postgresql://localhost/mydb",
    "postgresql://user@localhost",
    "postgresql://user:secret@localhost",
    "postgresql://user:@localhost",
    "postgresql://:secret@localhost",
    "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
    "postgres://host1:123,host2:456/somedb?target_session_attrs=any&application_name=my%20app",
    "postgresql://user@localhost:5433/mydb?options=-c%20synchronous_commit%3Doff",
    "postgresql:///mydb?host=localhost&port=5433",
    "postgresql://[2001:db8::1234]/database",
    "postgresql://[::1]:5433,[::2]/database",
    "postgresql://%2Fvar%2Flib%2Fpostgresql/dbname",
    "postgresql:///dbname?host=/var/lib/postgresql",
    "postgresql://a%40b:p%40ss%3Aw%2F%25@h/d%20b",
    "postgresql://h/db?ssl=true",
    "postgresql://h?user=u&dbname=d",
    "postgresql://h,i:1/db",
    "host=localhost port=5432 dbname=mydb connect_timeout=10",
    "host = /tmp  user=app",
    r"user='an app' password='it\'s \\ here'",
    r"password=a\ b user=x",
    "user='' host=h",
    "user= host=h",
    "host=a host=b",
    "  ",
    "",
    "dbname=postgres options='-c a=b'",
]


@pytest.mark.parametrize("text", STRINGS)
def test_strings_mean_what_they_mean_to_libpq(text: str) -> None:
    mine = {name: value for name, value in parse_conninfo(text).items() if value}
    theirs = {name: str(value) for name, value in conninfo_to_dict(text).items() if value not in {"", None}}
    assert mine == theirs


@given(
    st.dictionaries(
        st.sampled_from(["host", "user", "password", "dbname", "options"]), st.text("ab '\\=\t%é", max_size=9)
    )
)
def test_what_is_written_is_read_back_by_us_and_by_libpq(keywords: dict[str, str]) -> None:
    text = write_conninfo(keywords)
    assert parse_conninfo(text) == keywords
    assert {name: value for name, value in conninfo_to_dict(text).items() if value} == {
        name: value for name, value in keywords.items() if value
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mydb", "neither a URI nor keyword=value"),
        ("host=h secret", "neither a URI nor keyword=value"),
        ("host='h", "neither a URI nor keyword=value"),
        ("password='a'b", "neither a URI nor keyword=value"),
        ("postgresql+psycopg://u:secret@h/d", "scheme is not postgresql://"),
        ("mysql://u:secret@h/d", "scheme is not postgresql://"),
        ("postgresql://u:sec@ret@h/d", "more than one @"),
        ("postgresql://u:sec%ret@h/d", "percent-encoding in password"),
        ("postgresql://u:secret%00@h/d", "percent-encoding in password"),
        ("postgresql://u:secret%ff@h/d", "not UTF-8"),
        ("postgresql://[::1/d", "IPv6"),
        ("postgresql://[::1]x/d", "IPv6"),
        ("postgresql://h/d?sslmode", "not name=value"),
        ("postgresql://h/d?password=a=secret", "not name=value"),
        ("postgresql://h/d?password=x&se%26cret=1", "percent-encode special characters"),
        ("postgresql://h/d?pgbouncer=true", "'pgbouncer': it is Prisma's"),
        ("postgresql://h/d?sslMode=require", "unknown parameter 'sslMode'"),
        ("postgresql://h/d?gssencmode=require", "gssencmode can't be honoured"),
        ("postgresql://h/d?replication=database", "replication can't be honoured"),
        ("postgresql://h/d?load_balance_hosts=random", "load_balance_hosts can't be honoured"),
        ("service=prod", "service can't be honoured"),
    ],
)
def test_what_can_not_be_read_gets_an_error_without_a_secret(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_conninfo(text)
    assert told in refused.value.message + refused.value.hint
    assert "sec" not in refused.value.message + refused.value.hint


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        parse_conninfo("postgresql://h/d?schema=public&require_auth=none&colour=red")
    assert len(refused.value.message.splitlines()) == 3


def test_harmless_parameters_are_accepted() -> None:
    parse_conninfo("postgresql://h/d?gssencmode=prefer&krbsrvname=x&sslcompression=0&sslcertmode=allow")


def test_variables_become_keywords_and_empty_ones_are_unset() -> None:
    assert keywords_of_environment({"PGHOST": "h", "PGPORT": "", "PGDATABASE": "d", "HOME": "/x"}) == {
        "host": "h",
        "dbname": "d",
    }


def test_variables_that_can_not_be_honoured_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"PG\* variables: service can't be honoured"):
        keywords_of_environment({"PGSERVICE": "prod"})


def test_variables_that_are_startup_parameters() -> None:
    assert session_defaults({"PGTZ": "UTC", "PGDATESTYLE": "ISO", "PGGEQO": ""}) == {
        "datestyle": "ISO",
        "timezone": "UTC",
    }
