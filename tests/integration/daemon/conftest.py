"""Daemons in processes of their own; the log of each is shown when its test fails."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import pytest

from tests.support.cluster import Database
from tests.support.daemon import Daemon

_DAEMONS: Final = pytest.StashKey[list[Daemon]]()

PATIENT: Final[Mapping[str, Any]] = {"statement_age": {"warn": "10m"}}
"""A policy that leaves everything alone for as long as a test lasts."""


class Run(Protocol):
    """Make a daemon; without `start`, only make it, and without `wait`, don't wait until it runs."""

    def __call__(
        self,
        settings: Mapping[str, Any] | None,
        *,
        environ: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        wait: bool = True,
    ) -> Daemon: ...


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Start daemons; they end with the test."""
    daemons: list[Daemon] = []
    request.node.stash[_DAEMONS] = daemons

    def start(
        settings: Mapping[str, Any] | None,
        *,
        environ: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        wait: bool = True,
    ) -> Daemon:
        daemon = Daemon(settings, environ=environ, arguments=arguments)
        daemons.append(daemon)
        daemon.start()
        if wait:
            daemon.wait_until_it_runs()
        return daemon

    yield start
    for daemon in daemons:
        daemon.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and call.when == "call":
        for daemon in item.stash.get(_DAEMONS, []):
            report.sections.append(("poolguard's log", daemon.log_text()))
    return report


@pytest.fixture
def settings(database: Database) -> dict[str, Any]:
    """Two small pools on an empty database, whose policies leave everything alone; tests change what they are about."""
    return {
        "upstream": {"url": database.url},
        "pools": {
            "app": {"size": 2, "wait_timeout": "20s", "policy": "patient"},
            "jobs": {"size": 2, "wait_timeout": "20s", "policy": "patient"},
        },
        "policies": {"patient": PATIENT},
        "limits": {"drain_timeout": "10s"},
    }
