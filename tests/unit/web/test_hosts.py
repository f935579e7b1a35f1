"""Which Host headers mean us."""

import pytest

from poolguard.web.hosts import OwnNames

LOOPBACK = OwnNames("127.0.0.1")
EXPOSED = OwnNames("0.0.0.0")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:6433",
        "127.0.0.1",
        "localhost:6433",
        "LocalHost.",
        "[::1]:6433",
        "poolguard.localhost:6433",
        "10.1.2.3:8080",
        "localhost:16433",
    ],
)
def test_loopback_names_and_addresses_mean_us_on_whatever_port(host: str) -> None:
    assert LOOPBACK.mean_us(host)
    assert EXPOSED.mean_us(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:6433",
        "127.0.0.1.evil.example:6433",
        "localhost.evil.example",
        "evil.example:6433@localhost",
        "localhost/evil",
        "localhost:6433, evil.example",
        "[::1",
        "a b",
        "svc",
        "notsvc",
    ],
)
def test_names_that_public_dns_can_answer_for_and_nonsense_do_not_mean_a_loopback_listener(host: str) -> None:
    assert not LOOPBACK.mean_us(host)


@pytest.mark.parametrize("host", ["poolguard", "poolguard.shop.svc:6433", "poolguard.shop.svc.cluster.local"])
def test_names_inside_a_cluster_mean_us_only_if_we_listen_there(host: str) -> None:
    assert EXPOSED.mean_us(host)
    assert not LOOPBACK.mean_us(host)


def test_a_public_name_does_not_mean_an_exposed_listener_unless_it_is_its_own() -> None:
    assert not EXPOSED.mean_us("poolguard.example.com")
    assert OwnNames("poolguard.example.com").mean_us("Poolguard.Example.com:6433")
    assert OwnNames("0.0.0.0", frozenset({"db.example.com"})).mean_us("db.example.com")
