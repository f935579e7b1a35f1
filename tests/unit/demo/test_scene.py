"""The demo's settings are settings that poolguard takes, and its numbers fit together."""

from poolguard.demo import scene
from poolguard.settings.load import parse

PORTS = scene.Ports(clients=15001, control=15002, metrics=15003)


def test_poolguard_takes_the_file() -> None:
    settings = parse(scene.settings_text("postgresql://u:p%40@127.0.0.1:5/shop", PORTS), "demo.yaml", {}).settings
    assert settings.upstream.url == "postgresql://u:p%40@127.0.0.1:5/shop"
    assert settings.listen.clients.port == 15001
    assert settings.listen.control.port == 15002
    assert settings.listen.metrics.port == 15003
    assert {settings.listen.clients.host, settings.listen.control.host, settings.listen.metrics.host} == {"127.0.0.1"}
    assert {name: pool.size for name, pool in settings.pools.items()} == scene.POOL_SIZES
    for name, pool in settings.pools.items():
        ladder = settings.policies[pool.policy].idle_in_transaction
        assert pool.wait_timeout == scene.WAIT_SECONDS[name]
        assert ladder is not None
        assert ladder.rollback == scene.ROLLBACK_SECONDS


def test_one_waiter_gives_up_before_the_guard_acts_and_the_other_lasts() -> None:
    assert scene.WAIT_SECONDS["app"] < scene.ROLLBACK_SECONDS < scene.WAIT_SECONDS["jobs"]


def test_the_guards_budget_is_enough_for_every_leak() -> None:
    settings = parse(scene.settings_text("postgresql://h/d", PORTS), "demo.yaml", {}).settings
    for pool in scene.LEAKING:
        assert settings.policies[pool].budget.kills_per_minute >= scene.POOL_SIZES[pool]
        assert settings.policies[pool].budget.max_share_of_pool == 1
    assert sum(scene.POOL_SIZES[pool] for pool in scene.LEAKING) == scene.ORDERS


def test_the_lease_would_be_lost_if_many_renewals_failed_and_not_if_one_did() -> None:
    assert scene.RENEW_EVERY_SECONDS * 10 <= scene.LEASE_TTL_SECONDS < scene.ROLLBACK_SECONDS + 1
