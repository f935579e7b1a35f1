"""Incidents and log lines in a sentence."""

from poolguard.demo import told


def test_an_incident_names_application_ages_and_backend() -> None:
    record = {
        "id": "i7",
        "pool": "app",
        "transaction": {"application_name": "checkout-service", "backend_pid": 4242},
        "threshold": {"limit_seconds": 3.0, "actual_seconds": 3.042},
    }
    assert told.incident(record) == (
        "i7: rolled back checkout-service in pool app, idle for 3.04 s (allowed 3 s), backend 4242 kept"
    )


def test_a_log_line_shows_only_the_facts_that_it_has() -> None:
    line = {"level": "warning", "message": "transaction ended", "pool": "app", "rule": "r", "timeline": [1, 2]}
    assert told.log_line(line) == "warning transaction ended pool=app rule=r"
    assert told.log_line({}) == ""
