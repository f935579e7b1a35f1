from dataclasses import replace

import pytest

from poolguard.settings.check import find_problems, find_warnings
from poolguard.settings.lanes import Lane, LaneMatch
from poolguard.settings.matching import When
from poolguard.settings.model import (
    Auth,
    AuthMethod,
    ClientsListener,
    ClientsTls,
    ControlListener,
    Listen,
    Match,
    Observer,
    Pool,
    PoolMode,
    Route,
    Settings,
    Upstream,
    User,
)  # fmt: skip
from poolguard.settings.policies import IdleBlocker, Ladder, Policy, Rule

USERS = {"a": User(password="x")}


def test_the_defaults_have_no_problem_and_no_warning() -> None:
    assert (find_problems(Settings()), find_warnings(Settings())) == ([], [])


def test_trust_is_refused_where_others_can_connect_and_scram_is_not() -> None:
    listen = Listen(clients=ClientsListener(host="0.0.0.0"))
    assert [finding.path for finding in find_problems(Settings(listen=listen))] == [("listen", "clients", "host")]
    assert find_problems(Settings(listen=listen, auth=Auth(method=AuthMethod.SCRAM, users=USERS))) == []


def test_certificates_in_place_of_passwords_need_an_authority() -> None:
    def settings(tls: ClientsTls | None) -> Settings:
        listen = Listen(clients=ClientsListener(host="0.0.0.0", tls=tls))
        return Settings(listen=listen, auth=Auth(method=AuthMethod.CERT))

    for tls in (None, ClientsTls(cert_file="a", key_file="b")):
        assert [finding.path for finding in find_problems(settings(tls))] == [("auth", "method")]
    assert find_problems(settings(ClientsTls(cert_file="a", key_file="b", ca_file="c"))) == []


def test_port_0_may_be_given_to_all_listeners() -> None:
    listen = Listen(clients=ClientsListener(port=0), control=ControlListener(port=0))
    assert find_problems(Settings(listen=listen)) == []


def test_no_pool_at_all_is_one_problem() -> None:
    assert [finding.path for finding in find_problems(Settings(pools={}))] == [("pools",)]


def test_more_connections_than_postgresql_allows_by_default_are_warned_of() -> None:
    pools = {"app": Pool(size=92)}
    assert find_warnings(Settings(pools=pools)) == []
    (warning,) = find_warnings(Settings(pools={"app": Pool(size=93)}))
    assert (warning.path, "98" in warning.text) == (("pools",), True)


def test_pools_on_a_postgresql_of_their_own_do_not_count() -> None:
    assert find_warnings(Settings(pools={"app": Pool(size=500, upstream=Upstream(url="postgresql://b"))})) == []


def test_an_open_control_listener_without_token_is_warned_of() -> None:
    settings = Settings(listen=Listen(control=ControlListener(host="0.0.0.0")))
    assert [finding.path for finding in find_warnings(settings)] == [("listen", "control", "host")]
    assert find_warnings(replace(settings, auth=Auth(admin_token="t"))) == []


def test_expressions_that_look_at_the_beginning_only_are_warned_of() -> None:
    far, near = "^select .* from .* for update", "select .* from .* for update"
    for expression, warned in ((far, False), (near, True)):
        settings = Settings(
            pools={"app": Pool(lanes=(Lane(name="hot", match=LaneMatch(statement=expression), at_once=1),))},
            policies={"app": Policy(rules=(Rule(name="r", when=When(statement=expression), then=Ladder(warn=1.0)),))},
            routes=(Route(match=Match(statement=expression), pool="app"),),
        )
        paths = [finding.path for finding in find_warnings(settings) if "characters" in finding.text]
        assert paths == warned * [
            ("routes", 0, "match", "statement"),
            ("pools", "app", "lanes", 0, "match", "statement"),
            ("policies", "app", "rules", 0, "when", "statement"),
        ]


def test_users_without_effect_are_warned_of() -> None:
    assert [finding.path for finding in find_warnings(Settings(auth=Auth(users=USERS)))] == [("auth", "users")]


def test_rules_about_locks_that_nobody_looks_at_are_warned_of() -> None:
    about_locks = Rule(name="a", when=When(idle_for="1s", blocking=">=1"), then=Ladder(warn=0.0))
    policy = Policy(idle_blocker=IdleBlocker(rollback=1.0), rules=(about_locks,))
    blind = Settings(observer=Observer(enabled=False))
    assert find_warnings(blind) == [], "nobody wrote the default policies"
    told = find_warnings(replace(blind, policies={**blind.policies, "app": policy}))
    assert [found.path for found in told] == [
        ("policies", "app", "idle_blocker"),
        ("policies", "app", "rules", 0, "when", "blocking"),
    ]


def test_policies_that_do_nothing_or_that_nobody_uses_are_warned_of() -> None:
    policies = {**Settings().policies, "app": Policy(), "mine": Settings().policies["app"]}
    findings = find_warnings(Settings(policies=policies))
    assert [(finding.path, finding.text[:14]) for finding in findings] == [
        (("policies", "app"), "has no rule, s"),
        (("policies", "mine"), "no pool names "),
    ]


@pytest.mark.parametrize("pool", [Pool(mode=PoolMode.SESSION), Pool(prepared_statements=0)])
def test_single_transactions_are_led_to_pools_that_can_take_them(pool: Pool) -> None:
    routes = (Route(match=Match(statement="x"), pool="b"), Route(match=Match(user="x"), pool="b"))
    settings = Settings(pools={"app": Pool(), "b": pool}, routes=routes)
    assert [finding.path for finding in find_problems(settings)] == [("routes", 0, "pool")]
    assert find_problems(replace(settings, pools={"app": Pool(), "b": Pool()})) == []


def test_no_pool_may_have_the_consoles_name() -> None:
    [problem] = find_problems(replace(Settings(), pools={"app": Pool(), "poolguard": Pool()}))
    assert (problem.path, "console" in problem.text) == (("pools", "poolguard"), True)
