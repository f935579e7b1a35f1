"""The relay's counters become readings with bounded labels."""

import pytest

from poolguard.metrics import catalogue as c
from poolguard.metrics.relay_readings import ALERTED, LISTED, error_labels, relay_readings
from poolguard.relay.counters import RelayCounters


@pytest.mark.parametrize(
    ("sqlstate", "labels"),
    [
        ("40P01", ("40", "40P01")),
        ("22012", ("22", "other")),
        ("ZZ999", ("other", "other")),
        ("", ("other", "other")),
    ],
)
def test_a_code_that_is_not_listed_counts_as_other_of_its_class(sqlstate: str, labels: tuple[str, str]) -> None:
    assert error_labels(sqlstate) == labels


def test_codes_that_statements_make_up_add_no_series() -> None:
    relay = RelayCounters()
    relay.errors_total.update({("app", f"Z{number:04}"): 1 for number in range(1000)})

    told = {
        reading.labels: reading.value for reading in relay_readings(relay, ["app"]) if reading.metric is c.SQL_ERRORS
    }

    assert told["app", "other", "other"] == 1000
    assert len(told) == len(ALERTED) + 1


def test_codes_that_alerts_look_at_are_there_before_they_happen() -> None:
    told = {
        reading.labels for reading in relay_readings(RelayCounters(), ["app", "jobs"]) if reading.metric is c.SQL_ERRORS
    }

    assert told == {(pool, code[:2], code) for pool in ("app", "jobs") for code in ALERTED}
    assert set(ALERTED) <= LISTED


def test_every_reason_of_refusal_is_told_from_the_start() -> None:
    readings = [r for r in relay_readings(RelayCounters(), []) if r.metric is c.CLIENTS_REFUSED]

    assert len(readings) > 1
    assert all(reading.value == 0 for reading in readings)


def test_a_certificates_end_is_told_only_where_there_is_one() -> None:
    relay = RelayCounters()
    assert [r for r in relay_readings(relay, []) if r.metric is c.CERTIFICATE_EXPIRES] == []
    relay.certificate_expires_at = 5.0
    assert [r.value for r in relay_readings(relay, []) if r.metric is c.CERTIFICATE_EXPIRES] == [5.0]
