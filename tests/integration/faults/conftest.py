"""The faults that leases must survive, each on a real PostgreSQL with real sidecars; the numbers are the tests' names."""

from collections.abc import Generator, Iterator

import pytest

from tests.support.cluster import Database
from tests.support.scene import Scene

_SCENE: pytest.StashKey[Scene] = pytest.StashKey()


@pytest.fixture
def scene(request: pytest.FixtureRequest, database: Database) -> Iterator[Scene]:
    """A world on a database of the test's own."""
    made = Scene(database)
    request.node.stash[_SCENE] = made
    yield made
    made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    scene = item.stash.get(_SCENE, None)
    if report.failed and call.when == "call" and scene is not None:
        report.sections.append(("the sidecars' logs", scene.logs()))
    return report
