"""Who may end transactions from the console."""

import pytest

from poolguard.console.permission import check, is_local, token_of
from poolguard.core.errors import NotAllowed
from poolguard.wire.startup import Startup

LOCAL, FAR = "127.0.0.1:40000", "10.0.0.7:40000"


def asked(**options: str) -> Startup:
    return Startup(major=3, minor=0, user="ops", database="poolguard", options=tuple(options.items()))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "::1:40000", "unix"])
def test_this_machine_is_loopback_and_unix_sockets(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize("address", [FAR, "fe80::1:40000", "localhost.evil.example:1", "", "unixx"])
def test_everything_else_is_another_machine(address: str) -> None:
    assert not is_local(address)


def test_without_a_token_only_this_machine_may() -> None:
    check(asked(), LOCAL, "")
    with pytest.raises(NotAllowed, match="another machine"):
        check(asked(**{"poolguard.admin_token": "guessed"}), FAR, "")


@pytest.mark.parametrize("address", [LOCAL, FAR])
def test_with_a_token_whoever_has_it_may(address: str) -> None:
    check(asked(**{"Poolguard.Admin_Token": "right"}), address, "right")
    with pytest.raises(NotAllowed, match="needs the admin token"):
        check(asked(), address, "right")
    with pytest.raises(NotAllowed, match="not the admin token") as raised:
        check(asked(**{"poolguard.admin_token": "wrong"}), address, "right")
    assert raised.value.sqlstate == "42501"
    assert "wrong" not in raised.value.hint


def test_the_token_may_also_be_a_parameter_of_its_own() -> None:
    startup = Startup(
        major=3, minor=0, user="ops", database="poolguard", parameters=(("poolguard.admin_token", "right"),)
    )
    assert token_of(startup) == "right"
