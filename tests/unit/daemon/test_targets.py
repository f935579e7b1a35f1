import pytest

from poolguard.core.errors import SettingsError
from poolguard.daemon.targets import Targets
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
