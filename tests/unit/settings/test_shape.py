from typing import get_type_hints

from poolguard.settings.kinds import Seconds
from poolguard.settings.model import Leases, PoolMode, Settings
from poolguard.settings.shape import bare, inside, keys_at, kind_at, kind_words, leaves, places_of


def test_leaves_name_every_setting_once() -> None:
    paths = [leaf.path for leaf in leaves()]
    assert len(paths) == len(set(paths))
    assert {"upstream.url", "pools.*.upstream.url", "routes.*.match.user", "policies.*.app", "log.level"} - set(
        paths
    ) == {"policies.*.app"}
    assert "policies.*.idle_in_transaction.rollback" in paths


def test_kinds_are_found_by_path() -> None:
    assert bare(kind_at(("pools", "x", "mode")))[0] is PoolMode
    assert bare(kind_at(("routes", 5, "pool")))[0] is str
    assert kind_at(("pools", 5)) is None
    assert kind_at(("nothing", "below")) is None


def test_a_duration_with_a_range_of_its_own_is_still_a_duration() -> None:
    kind = get_type_hints(Leases, include_extras=True)["default_ttl"]
    assert bare(kind) == (Seconds, False)
    assert bare(inside(Settings, "upstream"))[1] is False


def test_keys_are_known_only_where_the_model_names_them() -> None:
    assert keys_at(("log",)) == ["format", "level"]
    assert keys_at(("pools",)) == []
    assert keys_at(("log", "level")) == []


def test_a_key_knows_where_it_belongs() -> None:
    assert places_of("max_clients") == ["limits.max_clients"]
    assert places_of("clients") == ["listen.clients"]
    assert places_of("zebra") == []


def test_every_setting_can_be_said_in_words() -> None:
    assert {kind_words(leaf.kind) for leaf in leaves()} >= {"text", "a whole number", "true or false", "a list"}
    assert kind_words(kind_at(("pools",))) == "a map of names"
    assert kind_words(kind_at(("log",))) == "a map of format, level"
