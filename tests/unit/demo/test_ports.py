"""Ports are free when they are named, and out of the way of outgoing connections."""

import socket
from collections.abc import Iterator

import pytest

from poolguard.core.errors import UpstreamUnavailable
from poolguard.demo.ports import CANDIDATES, can_bind, free_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_that_is_listened_on_can_not_be_bound(taken: int) -> None:
    assert not can_bind("127.0.0.1", taken)


def test_a_taken_port_is_passed_over(taken: int) -> None:
    free = free_port()
    offered = iter([taken, free])
    assert free_port(choose=lambda _: next(offered)) == free


def test_when_none_is_free_that_is_said(taken: int) -> None:
    with pytest.raises(UpstreamUnavailable, match=r"no free port on 127\.0\.0\.1"):
        free_port(choose=lambda _: taken)


def test_ports_come_from_below_those_of_outgoing_connections() -> None:
    assert CANDIDATES.stop <= 32_768
    assert free_port() in CANDIDATES
