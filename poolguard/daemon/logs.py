"""Logs: one JSON object a line (or text for a person), written by a thread of its own.

A slow reader of standard error must not hold up the loop: the queue is bounded, and what does not fit is dropped and
counted in the next line that does.
"""

import json
import logging
import queue
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from typing import Any, Final, TextIO

from poolguard.settings.model import Log, LogFormat

QUEUED_RECORDS: Final = 10_000

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What was given in `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _OWN}


def _moment(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, then the facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Write *record*. Values that JSON does not know are written as their text."""
        line: dict[str, object] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For a person: time, level, message, then key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Write *record*."""
        facts = " ".join(f"{key}={_short(value)}" for key, value in fields_of(record).items())
        line = f"{_moment(record)} {record.levelname:<7} {record.getMessage()}{' ' + facts if facts else ''}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


class DroppingHandler(QueueHandler):
    """Puts records on the queue; when it is full, counts instead of waiting."""

    def __init__(self, records: "queue.Queue[Any]") -> None:
        super().__init__(records)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Leave the record as it is: it stays in this process, and the formatter wants its `extra`."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Never wait."""
        if self.dropped:
            record.log_records_dropped = self.dropped
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1
        else:
            self.dropped = 0


@contextmanager
def logging_as(settings: Log, stream: TextIO | None = None) -> Iterator[None]:
    """Log as *settings* say, to standard error, until the end of the block; then everything is written."""
    output = logging.StreamHandler(stream or sys.stderr)
    output.setFormatter(JsonFormatter() if settings.format is LogFormat.JSON else TextFormatter())
    records: queue.Queue[logging.LogRecord] = queue.Queue(QUEUED_RECORDS)
    handler = DroppingHandler(records)
    listener = QueueListener(records, output)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    set_level(settings)
    listener.start()
    try:
        yield
    finally:
        listener.stop()
        root.handlers[:] = before
        root.setLevel(level)


def set_level(settings: Log) -> None:
    """Let *settings*' level count from now on. Other libraries never speak below warning."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("poolguard").setLevel(settings.level.upper())
