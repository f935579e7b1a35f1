"""Applications become readings, within a bound on names."""

from poolguard.guard.clients import ClientBook, ClientKey
from poolguard.ledger.entries import Phase
from poolguard.metrics import catalogue as c
from poolguard.metrics.client_readings import NAMES, OTHER, client_readings


def test_processes_of_one_name_are_one_series() -> None:
    book = ClientBook()
    book.see({ClientKey("shop", user, "unix"): {("app", Phase.ENDED): 2} for user in ("a", "b")}, 10.0)
    told = {reading.metric: (reading.labels, reading.value) for reading in client_readings(book, 15.0)}
    assert told == {c.CLIENT_PLATEAU: (("shop",), 5.0), c.CLIENT_LEAKED: (("shop",), 4)}


def test_names_above_the_bound_are_other() -> None:
    book = ClientBook()
    book.see({ClientKey(f"a{n:03}", "", ""): {("app", Phase.ENDED): 1} for n in range(NAMES + 3)}, 0.0)
    told = {r.labels[0]: r.value for r in client_readings(book, 0.0) if r.metric is c.CLIENT_LEAKED}
    assert len(told) == NAMES + 1
    assert told[OTHER] == 3
