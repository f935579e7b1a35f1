from pathlib import Path

import pytest

from poolguard.settings.load import load, parse
from poolguard.settings.loaded import WITHOUT_FILE, Loaded
from poolguard.settings.model import AuthMethod, LogFormat, PoolMode, Route, Settings, Upstream, User
from poolguard.settings.policies import Ladder
from poolguard.settings.problems import SettingsProblems


def read(text: str, **environ: str) -> Loaded:
    return parse(text, "f.yaml", environ)


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(SettingsProblems) as refused:
        read(text, **environ)
    return refused.value.message.splitlines()


def test_nothing_at_all_gives_the_defaults() -> None:
    loaded = load(None, {})
    assert (loaded.settings, loaded.source, loaded.warnings) == (Settings(), WITHOUT_FILE, ())


def test_every_kind_of_value_is_read() -> None:
    settings = read("""
        pools:
          app: {size: 5, mode: session, wait_timeout: 1m30s, role: no, policy: own}
        routes:
          - {match: {user: 007}, pool: app}
        policies:
          own: {transaction_age: {warn: 500ms, cancel: 2h}, exempt: {application_name: [yes, "x*"], comment: null}}
        leases: {enabled: off}
        limits: {message_bytes: 64 MiB}
        log: {format: text}
    """).settings
    app, own = settings.pools["app"], settings.policies["own"]
    assert (app.size, app.mode, app.wait_timeout, app.role) == (5, PoolMode.SESSION, 90.0, "no")
    assert settings.routes[0].match.user == "007"
    assert own.transaction_age == Ladder(warn=0.5, cancel=7200.0)
    assert (own.exempt.application_name, own.exempt.comment) == (("yes", "x*"), None)
    assert not settings.leases.enabled
    assert settings.limits.message_bytes == 64 * 1024**2
    assert settings.log.format is LogFormat.TEXT


def test_variables_fill_values_of_every_type() -> None:
    settings = read(
        "listen: {clients: {port: '${PORT}'}}\nleases: {enabled: '${ON}'}", PORT="1234", ON="false"
    ).settings
    assert settings.listen.clients.port == 1234
    assert not settings.leases.enabled


def test_every_problem_is_reported_at_once_with_its_place() -> None:
    assert problems("""\
upstream:
  url: ${DB}
pools:
  app: {sise: 5, mode: transactoin, wait_timeout: 30, min_idle: yes}
  "b b": {}
  jobs: {size: 2, min_idle: 5, max-waiting: 3, policy: own}
  app: {}
size: 4
routes:
  - {match: {}, pool: nix}
  - {match: {user: a}}
auth:
  users: {no: {password: [hunter2]}, x: {password: "${PW}"}}
  method: ${METHOD}
leases: {default_ttl: 1s, connections: 99, enabled: }
limits: {message_bytes: "${BIG:-}"}
policies: {own: {transaction_age: {warn: 5s, cancel: 1s}}}
polcies: {}
""", METHOD="hunter3") == [
        "f.yaml:2:8: upstream.url: variable DB is not set: set it, or write a default as ${DB:-default}",
        "f.yaml:4:9: pools.app.sise: unknown key in pools.app; did you mean size?",
        "f.yaml:4:24: pools.app.mode: 'transactoin' is not known; did you mean transaction?",
        "f.yaml:4:51: pools.app.wait_timeout: '30' is not a duration: write for example 500ms, 30s, 5m or 1h30m",
        "f.yaml:4:65: pools.app.min_idle: 'yes' does not fit: write a whole number",
        "f.yaml:5:3: pools.b b: 'b b' can't be a name: a letter or _, then letters, digits, _ or -, 63 in all at most",
        "f.yaml:6:32: pools.jobs.max-waiting: unknown key in pools.jobs; did you mean max_waiting?",
        "f.yaml:7:3: pools.app: written twice, first on line 4: keep one of them",
        "f.yaml:8:1: size: unknown key here; size belongs at pools.*.size",
        "f.yaml:10:13: routes[0].match: match is empty: give application_name, user, database or statement",
        "f.yaml:10:23: routes[0].pool: no pool is named 'nix'; write one of app, b b, jobs",
        "f.yaml:11:5: routes[1].pool: is missing: add it, it is text",
        "f.yaml:13:26: auth.users.no.password: a list does not fit: write text",
        "f.yaml:13:52: auth.users.x.password: variable PW is not set: set it, or write a default as ${PW:-default}",
        "f.yaml:14:11: auth.method: ${METHOD} is not known; write one of trust, scram-sha-256, cert",
        "f.yaml:15:23: leases.default_ttl: '1s' is out of range: it must be at least 2s",
        "f.yaml:15:40: leases.connections: '99' is out of range: it must be at most 16",
        "f.yaml:15:52: leases.enabled: is empty: write true or false, or remove the key to get the default",
        "f.yaml:16:25: limits.message_bytes: ${BIG:-} does not fit: write a size, for example 64KiB",
        "f.yaml:17:35: policies.own.transaction_age: warn comes after cancel: a milder step must not come later",
        "f.yaml:18:1: polcies: unknown key; did you mean policies?",
    ]  # fmt: skip


TRUST = (
    "auth.method is trust and 0.0.0.0 is not loopback, so anybody on the network could log in: "
    "write 127.0.0.1 here, or auth.method: scram-sha-256 with auth.users"
)
NOTHING_ELSE = "it must hold the secret and nothing else"


def test_rules_between_settings_are_checked_with_their_places() -> None:
    assert problems("""\
pools: {app: {policy: foo}, jops: {}}
routes: [{match: {user: x}, pool: jobs}]
listen: {clients: {host: 0.0.0.0}, metrics: {port: 6433}}
default_pool: ap
auth: {admin_token: a, admin_token_file: b}
""") == [
        "f.yaml:1:23: pools.app.policy: no policy is named 'foo'; write one of election, jobs, app",
        "f.yaml:2:35: routes[0].pool: no pool is named 'jobs'; did you mean jops?",
        f"f.yaml:3:26: listen.clients.host: {TRUST}",
        "f.yaml:3:52: listen.metrics.port: 6433 is listen.control.port too: give each its own",
        "f.yaml:4:15: default_pool: no pool is named 'ap'; did you mean app?",
        "f.yaml:5:42: auth.admin_token_file: give only one of admin_token and admin_token_file",
    ]  # fmt: skip


SECRET = "s3cr3t-hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "auth: {users: {a: {password: '${S}', password_file: x}}}",
        "auth: {users: {a: {password: {x: '${S}'}}}}",
        "auth: {admin_token: ['${S}']}",
        "auth: {admin_tokn: '${S}'}",
        "auth: {method: '${S}'}",
        "upstream: {connect_timeout: '${S}', url: ['${S}']}",
        "upstream: '${S}'",
        "leases: {schema: '${S}!', enabled: '${S}', connections: '${S}', default_ttl: '${S}'}",
        "limits: {max_clients: '${S}', message_bytes: '${S}'}",
        "policies: {app: {budget: {max_share_of_pool: '${S}'}, exempt: {application_name: '${S}'}}}",
        "listen: {clients: {port: '${S}'}}",
        "routes: ['${S}']",
        "log: '${S}'",
        "pools: '${S}'",
        "polcies: '${S}'",
    ],
)
def test_what_a_variable_held_is_in_no_problem(text: str) -> None:
    assert not any(SECRET in line or "hunter" in line for line in problems(text, S=SECRET))


@pytest.mark.parametrize(
    "text", ["default_pool: '${S}'", "pools: {app: {policy: '${S}'}}", "listen: {clients: {host: '${S}'}}"]
)
def test_what_a_variable_held_is_in_no_problem_between_settings(text: str) -> None:
    assert not any(SECRET in line for line in problems(text, S=SECRET))


def test_given_pools_replace_the_default_ones() -> None:
    settings = read("pools: {app: {}}").settings
    assert list(settings.pools) == ["app"]


def test_given_policies_join_the_default_ones_and_replace_their_namesakes() -> None:
    settings = read("policies: {app: {statement_age: {cancel: 5s}}, night: {statement_age: {warn: 1h}}}\n").settings
    assert list(settings.policies) == ["election", "jobs", "app", "night"]
    assert settings.policies["app"].idle_in_transaction is None
    assert settings.policies["jobs"] == Settings().policies["jobs"]


def test_the_environment_gives_url_and_token_where_the_file_gives_none() -> None:
    environ = {"DATABASE_URL": "postgresql://db/app", "POOLGUARD_ADMIN_TOKEN": "t"}
    settings = load(None, environ).settings
    assert (settings.upstream.url, settings.auth.admin_token) == ("postgresql://db/app", "t")
    given = parse("upstream: {url: postgresql://other}\nauth: {admin_token: mine}", "f", environ).settings
    assert (given.upstream.url, given.auth.admin_token) == ("postgresql://other", "mine")


def test_a_pools_upstream_gets_what_it_leaves_out_but_no_password_for_another_url() -> None:
    settings = read("""
        upstream: {url: postgresql://a, password_file: pw, connect_timeout: 9s}
        pools:
          app: {upstream: {connect_timeout: 1s}}
          far: {upstream: {url: postgresql://b}}
    """).settings
    assert settings.pools["app"].upstream == Upstream(url="postgresql://a", password_file="pw", connect_timeout=1.0)
    assert settings.pools["far"].upstream == Upstream(url="postgresql://b", connect_timeout=9.0)


def test_secrets_are_read_from_files_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hunter2\n")
    (tmp_path / "token").write_text("t0ken")
    file = tmp_path / "f.yaml"
    file.write_text("""
        upstream: {password_file: pw}
        auth: {method: scram-sha-256, users: {app: {password_file: pw}}, admin_token_file: token}
    """)
    settings = load(file, {}).settings
    assert settings.auth.users == {"app": User(password="hunter2")}
    assert (settings.auth.method, settings.auth.admin_token) == (AuthMethod.SCRAM, "t0ken")
    assert settings.upstream.password_file == str(tmp_path / "pw")


def test_secret_files_that_can_not_be_used_are_problems_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_text("x" * 70_000)
    file = tmp_path / "f.yaml"
    file.write_text(
        "upstream: {password_file: nowhere}\n"
        "auth: {users: {a: {password_file: empty}, b: {password_file: binary}}, admin_token_file: long}\n"
        "pools: {app: {upstream: {password_file: .}}}\n"
    )
    with pytest.raises(SettingsProblems) as refused:
        load(file, {})
    assert refused.value.message.replace(str(file), "f").splitlines() == [
        "f:1:27: upstream.password_file: can't read the file: No such file or directory",
        f"f:2:35: auth.users.a.password_file: the file is empty or holds a zero byte: {NOTHING_ELSE}",
        "f:2:62: auth.users.b.password_file: the file is not UTF-8 text: it must hold the secret and nothing else",
        "f:2:90: auth.admin_token_file: the file is over 64 KiB: it must hold the secret and nothing else",
        "f:3:41: pools.app.upstream.password_file: can't read the file: Is a directory",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff", "not UTF-8 text (byte 0): save the file as UTF-8"), (b"#" * (4 * 1024**2 + 1), "over 4 MiB")],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(SettingsProblems, match="f: ") as refused:
        load(tmp_path / "f", {})
    assert words in refused.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsProblems) as refused:
        load(tmp_path / "gone.yaml", {})
    assert refused.value.message == f"{tmp_path}/gone.yaml: can't read the settings file: No such file or directory"


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfpools: {app: {}}")
    assert list(load(tmp_path / "f", {}).settings.pools) == ["app"]


def test_the_hash_is_the_same_for_the_same_settings_however_written() -> None:
    written = read("limits: {max_clients: 5000}\nleases: {default_ttl: 15000ms}")
    assert written.hash == load(None, {}).hash
    assert read("limits: {max_clients: 4999}").hash != written.hash


def test_a_changed_secret_changes_the_hash_and_is_not_in_it(tmp_path: Path) -> None:
    hashes = {read("", DATABASE_URL=url).hash for url in ("", "postgresql://a:x@h", "postgresql://a:y@h")}
    hashes |= {read(f"auth: {{admin_token: {token}}}").hash for token in ("a", "b")}
    file = tmp_path / "f.yaml"
    file.write_text("upstream: {password_file: pw}")
    for password in ("a", "b"):
        (tmp_path / "pw").write_text(password)
        hashes.add(load(file, {}).hash)
    assert len(hashes) == 7
    assert all(len(text) == 12 and int(text, 16) >= 0 for text in hashes)


def test_routes_keep_their_order() -> None:
    text = "routes: [{match: {user: b}, pool: app}, {match: {user: a}, pool: jobs}]"
    routes: tuple[Route, ...] = read(text).settings.routes
    assert [route.match.user for route in routes] == ["b", "a"]


def test_secrets_are_not_in_the_repr_of_what_was_loaded() -> None:
    loaded = read("auth: {method: scram-sha-256, users: {a: {password: hunter2}}, admin_token: hunter2}")
    assert "hunter2" not in repr(loaded)


def test_an_expression_that_can_not_be_read_is_told_with_its_place() -> None:
    (problem,) = problems("routes:\n  - match: {statement: 'a(b'}\n    pool: app\n")
    assert problem.startswith("f.yaml:2:24: routes[0].match.statement: 'a(b' is no regular expression")
