"""An application that leaks every transaction it can, and the requests that then wait; in a process of its own."""

import asyncio
import logging
import multiprocessing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg

START_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who crowds one pool."""

    conninfo: str
    leaks: int
    """Transactions that are begun and never ended."""
    waiters: int
    """Clients that ask for a server again and again."""


@contextmanager
def crowding(crowds: Mapping[str, Crowd]) -> Iterator[None]:
    """Crowd the pools until the end of the `with`."""
    context = multiprocessing.get_context("spawn")
    ready, finished = context.Event(), context.Event()
    process = context.Process(target=_main, args=(list(crowds.values()), ready, finished), daemon=True)
    process.start()
    try:
        if not ready.wait(START_SECONDS):
            raise RuntimeError("the crowd did not gather")
        yield
        if not process.is_alive():
            raise RuntimeError("the crowd has gone: figures would be too good")
    finally:
        finished.set()
        process.join(10)
        process.kill()


def _main(crowds: list[Crowd], ready: Any, finished: Any) -> None:
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # waits that are cut short at the end are no news
    asyncio.run(_gather(crowds, ready, finished))


async def _gather(crowds: list[Crowd], ready: Any, finished: Any) -> None:
    leaks = [
        await psycopg.AsyncConnection.connect(crowd.conninfo, application_name="leak")
        for crowd in crowds
        for _ in range(crowd.leaks)
    ]
    for leak in leaks:
        await leak.execute("SELECT 1")  # psycopg has begun a transaction, and nobody ends it
    waiting = [asyncio.create_task(_wait_for_ever(crowd.conninfo)) for crowd in crowds for _ in range(crowd.waiters)]
    ready.set()
    await asyncio.to_thread(finished.wait)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    for leak in leaks:
        await leak.close()


async def _wait_for_ever(conninfo: str) -> None:
    while True:
        try:
            client = await psycopg.AsyncConnection.connect(conninfo, autocommit=True, application_name="waiter")
            while True:
                try:
                    await client.execute("SELECT 1")
                except psycopg.errors.TooManyConnections:
                    await asyncio.sleep(0.05)  # its wait timed out, or the queue was full: again
        except psycopg.OperationalError:
            await asyncio.sleep(0.2)
