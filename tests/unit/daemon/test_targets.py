import pytest

from poolguard.core.errors import SettingsError
from poolguard.daemon.targets import Targets, password_for
from poolguard.settings.model import Pool, Settings, Upstream

MAIN = Upstream(url="postgresql://main@main.example/shop")
OTHER = Upstream(url="postgresql://other@other.example/shop")


def test_a_pool_without_its_own_upstream_has_the_one_of_all() -> None:
    settings = Settings(upstream=MAIN, pools={"app": Pool(), "reports": Pool(upstream=OTHER)})
    targets = Targets(settings, {})
    assert targets.of(settings.pools["app"]) is targets.default
    assert [str(targets.of(pool)) for pool in settings.pools.values()] == [
        "main@main.example:5432/shop",
        "other@other.example:5432/shop",
    ]


def test_what_the_settings_leave_out_comes_from_the_environment() -> None:
    targets = Targets(Settings(), {"PGHOST": "db.example", "PGUSER": "u", "PGDATABASE": "d"})
    assert str(targets.default) == "u@db.example:5432/d"


def test_an_upstream_that_can_not_be_used_is_told_at_once_also_that_of_one_pool() -> None:
    with pytest.raises(SettingsError, match="nothing says where PostgreSQL is"):
        Targets(Settings(), {})
    with pytest.raises(SettingsError, match="scheme"):
        Targets(Settings(upstream=MAIN, pools={"app": Pool(upstream=Upstream(url="mysql://x"))}), {})


@pytest.mark.parametrize(
    ("latest", "password"),
    [("main@main.example/shop", "new"), ("main@other.example/shop", "old"), ("me@main.example/shop", "old")],
)
def test_who_stays_where_it_is_gets_a_new_password_but_never_that_of_another_postgresql(
    latest: str, password: str
) -> None:
    user, _, rest = latest.partition("@")
    there = Targets(Settings(upstream=Upstream(url="postgresql://main:old@main.example/shop")), {}).default
    moved = Targets(Settings(upstream=Upstream(url=f"postgresql://{user}:new@{rest}")), {}).default
    assert password_for(there, moved) == password
