"""Whoever a server talks to can do all that a server expects."""

import inspect

import pytest

from poolguard.relay.guest import Guest
from poolguard.relay.guests import Janitor, Nobody
from poolguard.relay.session import Session

EXPECTED = [name for name, value in vars(Guest).items() if inspect.isfunction(value) and not name.startswith("_")]


@pytest.mark.parametrize("guest", [Session, Nobody, Janitor])
@pytest.mark.parametrize("name", EXPECTED)
def test_each_guest_takes_what_a_server_tells(guest: type, name: str) -> None:
    told = inspect.signature(getattr(Guest, name)).parameters
    assert list(inspect.signature(getattr(guest, name)).parameters) == list(told)
