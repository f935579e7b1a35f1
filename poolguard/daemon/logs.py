"""Logs: one JSON object a line (or text for a person), written by a thread of its own.

A slow reader of standard error must not hold up the loop: the queue is bounded, and what does not fit is dropped and
counted in the next line that does.
"""

import json
import logging
import queue
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from logging.handlers import QueueHandler
from typing import Any, Final, TextIO

from poolguard.guard.log_line import WHOLE
from poolguard.settings.model import Log, LogFormat

QUEUED_RECORDS: Final = 10_000
LAST_WORDS_SECONDS: Final = 5.0
"""How long the end of the process waits for a reader of standard error that does not read."""

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
    """For a person: time, level, message, then key=value; of an incident what matters, and not the whole record."""

    def format(self, record: logging.LogRecord) -> str:
        """Write *record*."""
        told = {key: value for key, value in fields_of(record).items() if key != WHOLE}
        facts = " ".join(f"{key}={_short(value)}" for key, value in told.items())
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
            record = copy(record)  # other handlers have it too
            record.log_records_dropped = self.dropped
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1
        else:
            self.dropped = 0


class Writer:
    """Hands queued records to *output*, in a thread of its own.

    Not logging's QueueListener: its stop() raises when the queue is full, and waits for ever for a reader that hangs.
    """

    def __init__(self, records: "queue.Queue[logging.LogRecord | None]", output: logging.Handler) -> None:
        self._records = records
        self._output = output
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Write what is queued and end; after *seconds* what is still unwritten is given up."""
        deadline = time.monotonic() + seconds
        try:
            self._records.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while (record := self._records.get()) is not None:
            self._output.handle(record)


@contextmanager
def logging_as(
    settings: Log,
    stream: TextIO | None = None,
    *,
    queued: int = QUEUED_RECORDS,
    last_words_seconds: float = LAST_WORDS_SECONDS,
) -> Iterator[None]:
    """Log as *settings* say, to standard error, until the end of the block; then everything is written."""
    output = logging.StreamHandler(stream or sys.stderr)
    output.setFormatter(JsonFormatter() if settings.format is LogFormat.JSON else TextFormatter())
    records: queue.Queue[logging.LogRecord | None] = queue.Queue(queued)
    writer = Writer(records, output)
    root, own = logging.getLogger(), logging.getLogger("poolguard")
    before, levels = root.handlers[:], (root.level, own.level)
    root.handlers[:] = [DroppingHandler(records)]
    set_level(settings)
    writer.start()
    try:
        yield
    finally:
        writer.stop(last_words_seconds)
        root.handlers[:] = before
        root.setLevel(levels[0])
        own.setLevel(levels[1])


def set_level(settings: Log) -> None:
    """Let *settings*' level count from now on. Other libraries never speak below warning."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("poolguard").setLevel(settings.level.upper())
