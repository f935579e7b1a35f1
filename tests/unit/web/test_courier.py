"""What webhook and Kubernetes Events have in common; test_webhook.py tries the rest of it over HTTP."""

import logging
from dataclasses import replace

import aiohttp
import pytest

from poolguard.guard.book import IncidentBook
from poolguard.guard.incidents import Incident
from poolguard.web.courier import Courier, Refused, refused
from tests.support.clock import ManualClock
from tests.support.eventually import eventually_async
from tests.unit.guard.test_incidents import INCIDENT


class Scripted(Courier):
    """Its attempts come to what the script says, the last again and again."""

    name = "scripted"

    def __init__(self, book: IncidentBook, *script: Refused | Exception | None) -> None:
        super().__init__(book, ManualClock(), pauses=())
        self.script = list(script)

    def repeat_after(self, incident: Incident) -> float | None:
        return None if incident.rule == "nobody's" else 60.0

    async def attempt(self, session: aiohttp.ClientSession, incident: Incident, repeats: int) -> Refused | None:
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def carried(courier: Scripted, book: IncidentBook, *names: str) -> None:
    for number, name in enumerate(names, start=courier.counters.sent + courier.counters.failed + 1):
        book.record(replace(INCIDENT, id=name, rule=name))
        await eventually_async(lambda number=number: courier.counters.sent + courier.counters.failed == number)  # type: ignore[misc] # bound


@pytest.mark.parametrize(
    "failure", [aiohttp.ClientError(), OSError(), TimeoutError(), ValueError(), Refused("no", False)]
)
async def test_the_first_of_several_failures_is_logged_and_all_are_counted(
    failure: Exception | Refused, caplog: pytest.LogCaptureFixture
) -> None:
    book = IncidentBook(ManualClock(), lambda _: None)
    courier = Scripted(book, failure, failure, None, failure)
    await courier.start()
    with caplog.at_level(logging.ERROR):
        await carried(courier, book, "a", "b")
        assert caplog.text.count("could not be sent") == 1
        await carried(courier, book, "c", "d")
    await courier.stop()
    assert (courier.counters.sent, courier.counters.failed) == (1, 3)
    assert caplog.text.count("could not be sent") == 2


async def test_what_nobody_wants_is_not_carried() -> None:
    book = IncidentBook(ManualClock(), lambda _: None)
    courier = Scripted(book, None)
    await courier.start()
    book.record(replace(INCIDENT, rule="nobody's"))
    await carried(courier, book, "wanted")
    await courier.drain(0.0)
    await courier.stop()
    assert courier.counters.sent == 1


@pytest.mark.parametrize(
    ("status", "again"), [(200, None), (204, None), (302, False), (404, False), (429, True), (500, True), (503, True)]
)
def test_which_answers_are_worth_another_attempt(status: int, again: bool | None) -> None:
    failure = refused(status)
    assert (failure.again if failure is not None else None) is again
