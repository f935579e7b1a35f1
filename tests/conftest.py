"""What every test may ask for: a real PostgreSQL, a fresh database, both event loops; and no silent skips."""

import asyncio
import logging
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final

import hypothesis
import pytest
import uvloop

from poolguard.core.errors import SettingsError
from poolguard.demo.postgres import EmbeddedPostgres
from tests.support import cluster

NO_SKIP: Final = "POOLGUARD_NO_SKIP"
_SERVER: Final = pytest.StashKey[cluster.Server]()
_REAL: Final = frozenset({"pg", "pg_control", "database"})

# A deadline per example measures the machine. CI repeats the same examples: a red run is about the change.
hypothesis.settings.register_profile("dev", deadline=None, derandomize=False)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pg-dsn",
        metavar="CONNINFO",
        help="run on this PostgreSQL (as superuser, by libpq URL or conninfo) and not on an embedded one",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _REAL.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.pg)


# Event loops


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """asyncio's loop; asyncio's and uvloop's for a test that asks for `loop_kind`."""
    if "loop_kind" in getattr(item, "fixturenames", ()):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def loop_kind() -> str:
    """Run the test on both loops; it is told on which: `asyncio` or `uvloop`."""
    return "uvloop" if isinstance(asyncio.get_running_loop(), uvloop.Loop) else "asyncio"


# PostgreSQL


@pytest.fixture(scope="session")
def pg(request: pytest.FixtureRequest) -> Iterator[cluster.Server]:
    """A running PostgreSQL, one for each worker, started when the first test asks."""
    if dsn := request.config.getoption("--pg-dsn"):
        yield cluster.of_dsn(dsn)
        return
    try:
        postgres = EmbeddedPostgres(settings={"max_connections": "200", "max_prepared_transactions": "10"})
        postgres.binaries  # noqa: B018 - the look-up alone tells whether there is anything to run
    except SettingsError as error:
        pytest.skip(str(error))
    with postgres:
        server = cluster.of_embedded(postgres)
        request.config.stash[_SERVER] = server
        yield server


@pytest.fixture
def database(pg: cluster.Server) -> Iterator[cluster.Database]:
    """An empty database of the test's own."""
    with pg.fresh_database() as fresh:
        yield fresh


@pytest.fixture
def pg_control(pg: cluster.Server) -> Iterator[EmbeddedPostgres]:
    """The shared server's process, to stop, kill and restart; it runs again for the next test."""
    postgres = pg.control()
    settings = dict(postgres.settings)
    yield postgres
    if postgres.settings != settings:
        postgres.settings = settings
        postgres.stop()
    postgres.start()


# Reports


def skips_are_failures() -> bool:
    return os.environ.get(NO_SKIP) == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and skips_are_failures():
        report.outcome = "failed"
        report.longrepr = f"{NO_SKIP}=1, and this was skipped: {_reason(report.longrepr)}"
    server = item.config.stash.get(_SERVER, None)
    if report.failed and server is not None and server.embedded is not None and item.get_closest_marker("pg"):
        report.sections.append(("PostgreSQL's log", server.embedded.log_tail()))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and skips_are_failures():
        report.outcome = "failed"
        report.longrepr = f"{NO_SKIP}=1, and this was skipped: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


@pytest.fixture(autouse=True)
def log_levels_as_they_were() -> Iterator[None]:
    """What a test does to the loggers' levels (a daemon sets them for its process) ends with it."""
    loggers = [logging.getLogger(), logging.getLogger("poolguard")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
