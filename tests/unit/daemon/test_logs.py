import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import PurePath
from typing import Any

import pytest

from poolguard.daemon.logs import JsonFormatter, TextFormatter, fields_of, logging_as
from poolguard.settings.model import Log, LogFormat, LogLevel
from tests.support.eventually import eventually

log = logging.getLogger("poolguard.tests.logs")


def record(message: str = "something happened", *, error: bool = False, **extra: object) -> logging.LogRecord:
    """A record of 2023-11-14T22:13:20.25Z."""
    exc_info = None
    if error:
        try:
            raise ValueError("trouble")
        except ValueError:
            exc_info = sys.exc_info()
    made = log.makeRecord(log.name, logging.WARNING, "file.py", 1, message, (), exc_info, extra=extra)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    return made


class Colour(StrEnum):
    RED = "red"


def test_fields_are_what_was_given_as_extra_and_nothing_else() -> None:
    assert fields_of(record(pool="app", size=3)) == {"pool": "app", "size": 3}
    assert fields_of(record(error=True)) == {}


def test_json_is_one_object_on_one_line_with_time_level_logger_message_and_facts() -> None:
    line = JsonFormatter().format(record("two\nlines", pool="app", seconds=0.5, holders=[{"id": "1-1"}]))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "poolguard.tests.logs",
        "message": "two\nlines",
        "pool": "app",
        "seconds": 0.5,
        "holders": [{"id": "1-1"}],
    }


def test_values_that_json_does_not_know_are_written_as_their_text() -> None:
    line = json.loads(
        JsonFormatter().format(record(path=PurePath("/a"), colour=Colour.RED, nested={"p": PurePath("b")}))
    )
    assert (line["path"], line["colour"], line["nested"]) == ("/a", "red", {"p": "b"})


def test_an_exception_is_told_with_its_traceback() -> None:
    line = json.loads(JsonFormatter().format(record(error=True)))
    assert line["traceback"].startswith("Traceback (most recent call last):\n")
    assert line["traceback"].endswith("ValueError: trouble")
    assert TextFormatter().format(record(error=True)).endswith("\nValueError: trouble")


def test_text_is_for_people() -> None:
    line = TextFormatter().format(record(pool="app", seconds=0.12345, sizes=[1, 2], facts={"a": 1}))
    assert line == (
        '2023-11-14T22:13:20.250Z WARNING something happened pool=app seconds=0.123 sizes=[1, 2] facts={"a": 1}'
    )
    assert "whole" not in TextFormatter().format(record(pool="app", incident={"a": "whole"}))
    assert TextFormatter().format(record()) == "2023-11-14T22:13:20.250Z WARNING something happened"


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_formatting_leaves_the_record_as_it_was(formatter: logging.Formatter) -> None:
    made = record(error=True, pool="app")
    before = dict(vars(made))
    formatter.format(made)
    assert vars(made) == before


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_all_that_was_logged_is_written_when_the_block_ends() -> None:
    stream = io.StringIO()
    with logging_as(Log(), stream):
        for number in range(500):
            log.info("one of many", extra={"number": number})
    assert [line["number"] for line in lines(stream)] == list(range(500))


def test_the_format_is_the_one_of_the_settings() -> None:
    stream = io.StringIO()
    with logging_as(Log(format=LogFormat.TEXT), stream):
        log.info("for a person")
    assert stream.getvalue().endswith(" INFO    for a person\n")


@pytest.mark.parametrize(("level", "written"), [(LogLevel.DEBUG, 3), (LogLevel.INFO, 2), (LogLevel.ERROR, 1)])
def test_what_is_below_the_level_is_not_written(level: LogLevel, written: int) -> None:
    stream = io.StringIO()
    with logging_as(Log(level=level), stream):
        log.debug("a")
        log.info("b")
        log.error("c")
    assert len(lines(stream)) == written


def test_other_libraries_never_speak_below_warning() -> None:
    stream = io.StringIO()
    with logging_as(Log(level=LogLevel.DEBUG), stream):
        logging.getLogger("aiohttp.somewhere").info("chatter")
        logging.getLogger("aiohttp.somewhere").warning("trouble")
    assert [line["message"] for line in lines(stream)] == ["trouble"]


def test_logging_is_as_before_when_the_block_has_ended() -> None:
    def state() -> tuple[object, ...]:
        root, own = logging.getLogger(), logging.getLogger("poolguard")
        return root.handlers[:], root.level, own.level

    before = state()
    with logging_as(Log(level=LogLevel.DEBUG), io.StringIO()):
        assert state() != before
    assert state() == before


class Stuck(io.StringIO):
    """A stream whose reader does not read until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = threading.Event()
        self.reached = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.reads.wait()
        return super().write(text)


@contextmanager
def stuck_log(*, last_words_seconds: float = 30.0) -> Iterator[Stuck]:
    """Log to a Stuck stream with room for one record: one is being written, and one is queued."""
    stream = Stuck()
    try:
        with logging_as(Log(), stream, queued=1, last_words_seconds=last_words_seconds):
            log.info("first")
            assert stream.reached.wait(10)
            log.info("second")
            yield stream
    finally:
        stream.reads.set()


def test_with_a_full_queue_nobody_waits_and_the_next_line_that_fits_tells_how_many_were_dropped() -> None:
    with stuck_log() as stream:
        log.info("third")
        log.info("fourth")
        stream.reads.set()
        eventually(lambda: len(lines(stream)) == 2)
        log.info("fifth")
        eventually(lambda: len(lines(stream)) == 3)
        log.info("sixth")
    told = [(line["message"], line.get("log_records_dropped")) for line in lines(stream)]
    assert told == [("first", None), ("second", None), ("fifth", 2), ("sixth", None)]


class Remembering(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record)


def test_telling_of_drops_leaves_the_record_to_other_handlers_as_it_was() -> None:
    other = Remembering()
    with stuck_log() as stream:
        log.info("third")
        stream.reads.set()
        eventually(lambda: len(lines(stream)) == 2)
        log.addHandler(other)
        try:
            log.info("fourth")
        finally:
            log.removeHandler(other)
    assert lines(stream)[-1]["log_records_dropped"] == 1
    assert [fields_of(made) for made in other.seen] == [{}]


@pytest.mark.parametrize("queued", ["full", "with room"])
def test_the_end_does_not_wait_for_ever_for_a_reader_that_hangs(queued: str) -> None:
    stream = Stuck()
    try:
        with logging_as(Log(), stream, queued=1 if queued == "full" else 10, last_words_seconds=0.05):
            log.info("first")
            assert stream.reached.wait(10)
            log.info("second")
    finally:
        assert stream.getvalue() == ""
        stream.reads.set()
