"""What the relay counts."""

from poolguard.relay.counters import MAX_ERROR_KEYS, Refused, RelayCounters


def test_every_reason_to_refuse_is_there_from_the_beginning() -> None:
    assert RelayCounters().clients_refused_total == {reason.value: 0 for reason in Refused}


def test_errors_are_counted_by_pool_and_code() -> None:
    counters = RelayCounters()
    for pool, code in (("app", "23505"), ("app", "23505"), ("jobs", "23505")):
        counters.count_error(pool, code)
    assert counters.errors_total == {("app", "23505"): 2, ("jobs", "23505"): 1}


def test_codes_that_clients_make_up_are_bounded() -> None:
    counters = RelayCounters()
    for number in range(MAX_ERROR_KEYS + 50):
        counters.count_error("app", f"{number:05}")
    assert counters.errors_total["app", "other"] == 50
    assert len(counters.errors_total) == MAX_ERROR_KEYS + 1
    counters.count_error("app", "00000")
    assert counters.errors_total["app", "00000"] == 2
