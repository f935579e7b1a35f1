"""Where PostgreSQL is: what settings, variables and files say together."""

import logging
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from poolguard.core.errors import SettingsError
from poolguard.settings.model import Upstream
from poolguard.upstream.endpoint import Endpoint, Keepalive, SessionAttrs
from poolguard.upstream.passfile import parse_passfile
from poolguard.upstream.target import Surroundings, Target, build_target, resolve_target
from poolguard.upstream.tls import SslMode
from poolguard.wire.scram_client import ChannelBinding

AROUND = Surroundings(os_user="me", default_host="/sockets")


def build(around: Surroundings | None = None, /, **keywords: str) -> Target:
    return build_target(keywords, 5.0, around or AROUND)


def test_libpqs_defaults() -> None:
    target = build()
    assert target.endpoints == (Endpoint(host="/sockets", port=5432),)
    assert (target.user, target.database) == ("me", "me")
    assert (target.tls.mode, target.channel_binding) == (SslMode.PREFER, ChannelBinding.PREFER)
    assert (target.connect_timeout, target.parameters, target.protocol_minor) == (5.0, (), 0)
    assert (target.session_attrs, target.keepalive) == (SessionAttrs.ANY, Keepalive())


def test_the_database_is_the_user_unless_it_is_named() -> None:
    assert build(user="app").database == "app"
    assert build(user="app", dbname="shop").database == "shop"


def test_everything_that_is_honoured() -> None:
    target = build(
        host="db", port="6000", user="u", password="p", connect_timeout="7", channel_binding="require",
        options="-c a=b", client_encoding="UTF8", application_name="x", fallback_application_name="y",
        keepalives_idle="1", keepalives_interval="2", keepalives_count="4", tcp_user_timeout="8", sslmode="require",
        target_session_attrs="read-write", max_protocol_version="3.2",
    )  # fmt: skip
    assert target.endpoints == (Endpoint(host="db", port=6000, password="p"),)
    assert target.connect_timeout == 7.0
    assert target.channel_binding is ChannelBinding.REQUIRE
    assert dict(target.parameters) == {"options": "-c a=b", "client_encoding": "UTF8", "application_name": "x"}
    assert target.keepalive == Keepalive(idle_seconds=1, interval_seconds=2, count=4, user_timeout_ms=8)
    assert (target.tls.mode, target.session_attrs, target.protocol_minor) == (
        SslMode.REQUIRE,
        SessionAttrs.READ_WRITE,
        2,
    )


def test_keepalives_can_be_turned_off() -> None:
    assert not build(keepalives="0").keepalive.enabled


def test_waiting_for_ever_is_never_wanted() -> None:
    assert build(connect_timeout="0").connect_timeout == 5.0


def test_session_defaults_are_startup_parameters() -> None:
    target = build(Surroundings(os_user="me", session_defaults=(("timezone", "UTC"),)), options="-c a=b")
    assert dict(target.parameters) == {"timezone": "UTC", "options": "-c a=b"}


@pytest.mark.parametrize(
    ("keywords", "endpoints"),
    [
        ({"host": "a,b", "port": "1,2"}, [Endpoint(host="a", port=1), Endpoint(host="b", port=2)]),
        ({"host": "a,b", "port": "1"}, [Endpoint(host="a", port=1), Endpoint(host="b", port=1)]),
        ({"host": "a,,b"}, [Endpoint(host="a"), Endpoint(host="/sockets"), Endpoint(host="b")]),
        ({"host": "a,b", "port": "1,"}, [Endpoint(host="a", port=1), Endpoint(host="b")]),
        ({"hostaddr": "10.0.0.1"}, [Endpoint(host="", hostaddr="10.0.0.1")]),
        (
            {"host": "a,b", "hostaddr": "10.0.0.1,"},
            [Endpoint(host="a", hostaddr="10.0.0.1"), Endpoint(host="b")],
        ),
    ],
)
def test_several_hosts(keywords: dict[str, str], endpoints: list[Endpoint]) -> None:
    assert list(build(None, **keywords).endpoints) == endpoints


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"host": "a,b", "hostaddr": "10.0.0.1"}, "2 hosts but 1 hostaddrs"),
        ({"host": "a,b,c", "port": "1,2"}, "2 ports for 3 hosts"),
        ({"port": "0"}, "a port is not a number in 1..65535"),
        ({"port": "65536"}, "a port is not a number"),
        ({"port": "pg"}, "a port is not a number"),
        ({"sslmode": "yes"}, "sslmode is not one of disable, allow"),
        ({"channel_binding": "yes"}, "channel_binding is not one of"),
        ({"target_session_attrs": "prefer-standby"}, "target_session_attrs is not one of any"),
        ({"connect_timeout": "-1"}, "connect_timeout is not a whole number"),
        ({"connect_timeout": "1.5"}, "connect_timeout is not a whole number"),
        ({"keepalives_idle": "9" * 20}, "keepalives_idle is not a whole number"),
        ({"client_encoding": "auto"}, "client_encoding=auto"),
        ({"max_protocol_version": "2.0"}, "max_protocol_version is not"),
    ],
)
def test_what_is_wrong_is_named(keywords: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        build(None, **keywords)


def test_verify_full_needs_a_name_to_check() -> None:
    with pytest.raises(SettingsError, match="verify-full needs a host name"):
        build(hostaddr="10.0.0.1", sslrootcert="system")


def test_a_user_must_be_known() -> None:
    with pytest.raises(SettingsError, match="no user"):
        build(Surroundings())


def test_each_host_has_its_own_line_in_the_password_file() -> None:
    entries = parse_passfile(
        "a:1:shop:app:for a\nb:*:*:*:for b\nlocalhost:*:*:*:for the socket\n10.0.0.9:*:*:*:by address"
    )
    around = Surroundings(pass_entries=entries, default_host="/sockets")
    target = build(around, host="a,b,c,", port="1", user="app", dbname="shop")
    assert [endpoint.password for endpoint in target.endpoints] == ["for a", "for b", None, "for the socket"]
    assert build(around, hostaddr="10.0.0.9", user="x").endpoints[0].password == "by address"


def test_a_given_password_wins_over_the_password_file() -> None:
    around = Surroundings(pass_entries=parse_passfile("*:*:*:*:file"))
    assert build(around, host="h", user="u", password="given").endpoints[0].password == "given"


def test_no_secret_shows() -> None:
    target = build(host="h", password="secret", sslpassword="secret", user="u")
    assert "secret" not in repr(target) + str(target)
    assert str(target) == "u@h:5432/u"
    assert "secret" not in repr(Surroundings(password="secret"))


def test_conninfo_says_the_same_to_libpq() -> None:
    target = build(
        host="a,b", port="1", user="u", password="it's", sslmode="require", options="-c a=b", tcp_user_timeout="9"
    )
    assert conninfo_to_dict(target.conninfo(application_name="lease", options="")) == {
        "host": "a,b", "port": "1,1", "user": "u", "dbname": "u", "password": "it's", "sslmode": "require",
        "options": "", "tcp_user_timeout": "9", "connect_timeout": "5", "application_name": "lease",
    }  # fmt: skip


def test_conninfo_leaves_several_passwords_to_libpqs_own_file() -> None:
    around = Surroundings(pass_entries=parse_passfile("a:*:*:*:1\nb:*:*:*:2"))
    assert "password" not in conninfo_to_dict(build(around, host="a,b", user="u", passfile="/p").conninfo())


def test_equal_settings_make_equal_targets() -> None:
    assert build(host="h", password="x") == build(host="h", password="x")
    assert build(host="h", password="x") != build(host="h", password="y")
    assert hash(build(host="h", password="x")) == hash(build(host="h", password="x"))


# files


def test_the_url_goes_before_variables_and_variables_before_files(tmp_path: Path) -> None:
    (tmp_path / ".pgpass").write_text("*:*:*:*:from file\n")
    (tmp_path / ".pgpass").chmod(0o600)
    environ = {"HOME": str(tmp_path), "PGHOST": "env", "PGPORT": "6000", "PGUSER": "u", "PGAPPNAME": "env"}
    target = resolve_target(Upstream(url="postgresql://url/d?application_name=url"), environ)
    assert target.endpoints == (Endpoint(host="url", port=6000, password="from file"),)
    assert dict(target.parameters) == {"application_name": "url"}
    target = resolve_target(Upstream(), environ | {"PGPASSWORD": "from env"})
    assert target.endpoints == (Endpoint(host="env", port=6000, password="from env"),)


def test_a_password_file_that_others_can_read_is_ignored_and_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passfile = tmp_path / "pass"
    passfile.write_text("*:*:*:*:secret\n")
    passfile.chmod(0o640)
    with caplog.at_level(logging.WARNING):
        target = resolve_target(Upstream(url=f"host=h user=u passfile={passfile}"), {})
    assert target.endpoints[0].password is None
    assert [record.getMessage() for record in caplog.records] == [
        "password file has group or world access and is ignored"
    ]


@pytest.mark.parametrize("path", ["/nonexistent", "/"])
def test_a_password_file_that_is_none_is_ignored(path: str) -> None:
    target = resolve_target(Upstream(url=f"host=h user=u passfile={path}"), {})
    assert target.endpoints[0].password is None


def test_password_file_is_read_without_its_newline_and_wins_over_pgpassword(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(" s3cret \r\n")
    upstream = Upstream(url="host=h user=u", password_file=str(tmp_path / "password"))
    target = resolve_target(upstream, {"PGPASSWORD": "other"})
    assert target.endpoints[0].password == " s3cret "


def test_a_password_file_must_hold_one(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\n")
    for path, told in ((tmp_path / "password", "holds no password"), (tmp_path / "none", "No such file")):
        with pytest.raises(SettingsError, match=told):
            resolve_target(Upstream(url="host=h user=u", password_file=str(path)), {})


def test_two_passwords_are_one_too_many(tmp_path: Path) -> None:
    upstream = Upstream(url="postgresql://u:secret@h", password_file=str(tmp_path / "x"))
    with pytest.raises(SettingsError, match="both url and password_file") as refused:
        resolve_target(upstream, {})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("environ", [{}, {"PGUSER": "u", "PGDATABASE": "d"}])
def test_something_must_say_where_postgresql_is(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="nothing says where PostgreSQL is") as refused:
        resolve_target(Upstream(), environ)
    assert "DATABASE_URL" in refused.value.hint


def test_the_systems_user_is_the_last_resort() -> None:
    assert resolve_target(Upstream(url="host=h"), {}).user


def test_default_files_of_tls_are_found_in_the_home_folder(tmp_path: Path) -> None:
    folder = tmp_path / ".postgresql"
    folder.mkdir()
    (folder / "root.crt").touch()
    target = resolve_target(Upstream(url="host=h user=u sslmode=verify-ca"), {"HOME": f"{tmp_path}/"})
    assert target.tls.rootcert == str(folder / "root.crt")


def test_a_url_without_a_host_means_the_unix_socket() -> None:
    assert resolve_target(Upstream(url="postgresql:///shop?user=u"), {}).endpoints[0].is_unix
