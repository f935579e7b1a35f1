import pytest

from poolguard.core.loopback import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LocalHost"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "10.0.0.1", "db", "localhost.", "localhost.evil.example", "127.0.0.1.nip.io"]
)
def test_everything_else_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)
