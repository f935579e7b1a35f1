import pytest

from poolguard.core.errors import TooManyClients
from poolguard.relay.arrivals import GRACE_SECONDS, Arrivals


class Client:
    """Remembers that it had to go."""

    def __init__(self) -> None:
        self.gave_way = False

    def give_way(self) -> None:
        self.gave_way = True


def test_s14_the_oldest_makes_room_and_is_forgotten() -> None:
    arrivals, clients = Arrivals[Client](), [Client() for _ in range(4)]
    for second, client in enumerate(clients):
        arrivals.come(client, second * GRACE_SECONDS, limit=2)
    assert [client.gave_way for client in clients] == [True, True, False, False]
    assert list(arrivals) == clients[2:]


def test_s14_who_has_just_come_gives_way_to_nobody() -> None:
    arrivals, first, second = Arrivals[Client](), Client(), Client()
    arrivals.come(first, 0.0, limit=1)
    with pytest.raises(TooManyClients, match=r"limits\.max_logins is 1") as refused:
        arrivals.come(second, GRACE_SECONDS - 0.001, limit=1)
    assert refused.value.sqlstate == "53300"
    assert (list(arrivals), first.gave_way) == ([first], False)


def test_who_has_proven_who_it_is_takes_no_place_and_never_gives_way() -> None:
    """It may wait for a server for as long as its pool lets it."""
    arrivals, first, second, third = Arrivals[Client](), Client(), Client(), Client()
    arrivals.come(first, 0.0, limit=1)
    arrivals.prove(first, sessions=0, limit=10)
    arrivals.come(second, 99.0, limit=1)
    arrivals.come(third, 199.0, limit=1)
    assert [client.gave_way for client in (first, second, third)] == [False, True, False]
    assert set(arrivals) == {first, third}


def test_clients_that_are_in_count_those_without_a_session_too() -> None:
    arrivals, first, second = Arrivals[Client](), Client(), Client()
    for client in (first, second):
        arrivals.come(client, 0.0, limit=9)
    arrivals.prove(first, sessions=1, limit=2)
    with pytest.raises(TooManyClients, match=r"limits\.max_clients is 2"):
        arrivals.prove(second, sessions=1, limit=2)
    for _ in range(2):
        arrivals.go(first)
    arrivals.prove(second, sessions=1, limit=2)
    assert list(arrivals) == [second]
