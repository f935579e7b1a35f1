from dataclasses import replace

import pytest

from poolguard.settings.diff import Effect, effect_of, plan_reload
from poolguard.settings.model import (
    Auth,
    ClientsListener,
    ClientsTls,
    Leases,
    Limits,
    Listen,
    Match,
    Pool,
    Route,
    Settings,
    Upstream,
    User,
)  # fmt: skip
from poolguard.settings.shape import leaves

BASE = Settings()


def with_pool(name: str, pool: Pool, base: Settings = BASE) -> Settings:
    return replace(base, pools={**base.pools, name: pool})


def test_nothing_changed_is_an_empty_plan() -> None:
    plan = plan_reload(BASE, Settings())
    assert plan.empty
    assert plan.lines() == ["nothing changed"]


def test_pools_come_and_go() -> None:
    new = replace(BASE, pools={"app": BASE.pools["app"], "night": Pool()})
    plan = plan_reload(BASE, new)
    assert (plan.pools_added, plan.pools_removed, plan.changes) == (("night",), ("election", "jobs"), ())
    assert not plan.empty
    assert plan.lines() == ["pools.night: added", "pools.election: removed, drains", "pools.jobs: removed, drains"]


def test_a_new_size_resizes_and_nothing_else() -> None:
    plan = plan_reload(BASE, with_pool("app", replace(BASE.pools["app"], size=30)))
    assert (plan.pools_resized, plan.pools_drained, plan.pools_changed) == (("app",), (), ())
    assert plan.lines() == ["pools.app.size: 20 -> 30 (live)"]


def test_other_settings_of_a_pool_change_live() -> None:
    plan = plan_reload(BASE, with_pool("app", replace(BASE.pools["app"], wait_timeout=0.5)))
    assert (plan.pools_resized, plan.pools_drained, plan.pools_changed) == ((), (), ("app",))
    assert plan.lines() == ["pools.app.wait_timeout: 10s -> 500ms (live)"]


@pytest.mark.parametrize(
    "change", [{"role": "r"}, {"application_name": "x"}, {"upstream": Upstream(url="postgresql://b")}]
)
def test_what_servers_were_opened_with_drains_their_pool(change: dict[str, object]) -> None:
    pool = Pool(**{"policy": "app", "max_waiting": 500, **change})  # type: ignore[arg-type]  # one field of several types
    plan = plan_reload(BASE, with_pool("app", pool))
    assert plan.pools_drained == ("app",)
    assert {entry.effect for entry in plan.changes} == {Effect.DRAIN}
    assert not plan.leases_moved


def test_tls_of_clients_changes_live_and_the_rest_of_their_listener_does_not() -> None:
    tls = ClientsTls(cert_file="a", key_file="b")
    first = replace(BASE, listen=Listen(clients=ClientsListener(tls=tls, port=1)))
    assert [(c.path, c.effect) for c in plan_reload(BASE, first).changes] == [
        ("listen.clients.port", Effect.RESTART),
        ("listen.clients.tls", Effect.LIVE),
    ]
    second = replace(BASE, listen=Listen(clients=ClientsListener(tls=replace(tls, required=True), port=1)))
    assert plan_reload(first, second).lines() == ["listen.clients.tls.required: false -> true (live)"]


def test_another_upstream_drains_the_pools_that_use_it_and_leases_stay() -> None:
    own = with_pool("jobs", replace(BASE.pools["jobs"], upstream=Upstream(url="postgresql://own")))
    plan = plan_reload(own, replace(own, upstream=Upstream(url="postgresql://a:hunter2@b")))
    assert plan.pools_drained == ("election", "app")
    assert plan.leases_moved
    assert plan.lines() == [
        "upstream.url: none -> a secret (drains the pool)",
        "leases and the lock graph: stay on the old upstream until a restart",
    ]


def test_another_connect_timeout_drains_nothing() -> None:
    plan = plan_reload(BASE, replace(BASE, upstream=Upstream(connect_timeout=1.0)))
    assert (plan.pools_drained, plan.leases_moved, len(plan.live)) == ((), False, 1)


def test_a_changed_secret_is_told_and_not_shown() -> None:
    old = replace(BASE, auth=Auth(admin_token="hunter1", users={"a": User(password="hunter1")}))
    new = replace(
        BASE, auth=Auth(admin_token="hunter2", users={"a": User(password="hunter2"), "b": User(password="x")})
    )
    lines = plan_reload(old, new).lines()
    assert lines == [
        "auth.users.a.password: a secret -> a secret (live)",
        "auth.users.b: none -> given (live)",
        "auth.admin_token: a secret -> a secret (live)",
    ]


def test_listeners_and_leases_need_a_restart() -> None:
    new = replace(BASE, listen=Listen(clients=ClientsListener(port=7000)), leases=Leases(schema="x", default_ttl=5.0))
    plan = plan_reload(BASE, new)
    assert [change.path for change in plan.restart] == ["listen.clients.port", "leases.schema"]
    assert [change.path for change in plan.live] == ["leases.default_ttl"]
    assert "listen.clients.port: 6432 -> 7000 (needs a restart)" in plan.lines()


def test_policies_and_limits_are_live_and_routes_are_for_newcomers() -> None:
    policies = {**BASE.policies, "app": replace(BASE.policies["app"], statement_age=None)}
    routes = (Route(match=Match(user="a"), pool="app"),)
    plan = plan_reload(BASE, replace(BASE, policies=policies, limits=Limits(max_clients=1), routes=routes))
    assert [change.path for change in plan.changes] == ["routes", "policies.app.statement_age", "limits.max_clients"]
    assert plan.live == plan.changes[1:]
    assert plan.changes[0].effect is Effect.LOGIN


def test_every_setting_has_an_effect() -> None:
    effects = {leaf.path: effect_of(leaf.path) for leaf in leaves()}
    assert {path for path, effect in effects.items() if effect is Effect.DRAIN} == {
        "upstream.url", "upstream.password_file", "pools.*.role", "pools.*.application_name",
        "pools.*.upstream.url", "pools.*.upstream.password_file",
    }  # fmt: skip
    restarting = {path.partition(".")[0] for path, effect in effects.items() if effect is Effect.RESTART}
    assert restarting == {"listen", "leases", "observer"}
