"""A process of clients of one driver: `python -m tests.relay_soak.crowd DRIVER PORT CLIENTS SECONDS SEED FIRST`."""

import asyncio
import json
import sys
import threading
import time
from dataclasses import fields
from typing import Final

from tests.relay_soak.blocking import DRIVERS, BlockingClient
from tests.relay_soak.looping import LoopingClient
from tests.relay_soak.marks import Mark, Told

POOLS: Final = ("app", "app", "session")


def main() -> None:
    """Run the clients; what they have seen goes to standard output, as JSON."""
    name, port, clients, seconds, seed, first = sys.argv[1], *(int(argument) for argument in sys.argv[2:])
    told = Told(name)
    until = time.monotonic() + seconds
    marks = [Mark(told, first + number, until=until, seed=seed) for number in range(clients)]
    pools = [POOLS[number % len(POOLS)] for number in range(clients)]
    if name == "asyncpg":
        asyncio.run(_all([LoopingClient(mark, port, pool) for mark, pool in zip(marks, pools, strict=True)]))
    else:
        driver = DRIVERS[name]()
        every = [BlockingClient(driver, mark, port, pool) for mark, pool in zip(marks, pools, strict=True)]
        threads = [threading.Thread(target=client.live) for client in every]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    json.dump({each.name: getattr(told, each.name) for each in fields(told)}, sys.stdout)


async def _all(clients: list[LoopingClient]) -> None:
    # asyncpg leaves futures of broken connections behind, each with a line of its own.
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.live())


if __name__ == "__main__":
    main()
