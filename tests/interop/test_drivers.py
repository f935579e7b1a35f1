"""Each driver works through poolguard, in both modes, as it works on PostgreSQL."""

import pytest

from tests.interop.conftest import House
from tests.interop.drivers import DRIVERS, TARGETS, Driver

RUNS = [pytest.param(driver, target, id=f"{driver.name}-{target}") for driver in DRIVERS for target in TARGETS]
CASES = [
    pytest.param(driver, target, scenario, id=f"{driver.name}-{target}-{scenario}")
    for driver in DRIVERS
    for target in TARGETS
    for scenario in driver.scenarios_on(target)
]


@pytest.mark.timeout(700)
@pytest.mark.parametrize(("driver", "target", "scenario"), CASES)
def test_scenario(driver: Driver, target: str, scenario: str, house: House) -> None:
    """One line of the driver's program. `direct` is the oracle: where it fails too, the scenario is wrong.

    The scenarios that begin with `leaked` are case G11 and check 2: the driver raises an ordinary error, its process lives, nothing of the
    dead transaction's rest runs outside of it, COMMIT is an error, ROLLBACK recovers.
    """
    told = house.report(driver, target).of(scenario)
    assert told.ok, told.detail


@pytest.mark.timeout(700)
@pytest.mark.parametrize(("driver", "target"), RUNS)
def test_program_ends_by_itself_and_tells_what_is_expected_of_it(driver: Driver, target: str, house: House) -> None:
    """Check 2: the process lives to its end, whatever it was told on the way."""
    report = house.report(driver, target)
    assert report.exit_code == 0, report.error_output
    assert set(report.told) == set(driver.scenarios_on(target))
