"""The process: its loop, its signals, its exit code."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Final

from poolguard import __version__
from poolguard.core.errors import SettingsError
from poolguard.daemon.heap import keep_chunks
from poolguard.daemon.house import House
from poolguard.daemon.logs import logging_as
from poolguard.daemon.reload import Reloader
from poolguard.settings.loaded import Loaded

log = logging.getLogger(__name__)

OK: Final = 0
FAILED: Final = 1

# The relay makes no cycles per message: what stands after the start is set aside, and the rest is collected rarely,
# so that no collection stops the loop for milliseconds.
GC_THRESHOLDS: Final = (50_000, 20, 50)


def run(loaded: Loaded, environ: Mapping[str, str] | None = None, *, observe: bool) -> int:
    """Run until SIGTERM or SIGINT; 0 after an orderly end, 1 if it could not start.

    *environ* fills the settings again at each reload (default: the process's own).
    """
    keep_chunks()
    with logging_as(loaded.settings.log), asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(serve(loaded, os.environ if environ is None else environ, observe=observe))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, or asyncio's own where uvloop can't be had."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def serve(loaded: Loaded, environ: Mapping[str, str], *, observe: bool) -> int:
    """Start, wait for a signal, drain, stop."""
    for warning in loaded.warnings:
        log.warning("the settings can be used, but", extra={"problem": warning})
    stop, at_once = asyncio.Event(), asyncio.Event()
    reloads: set[asyncio.Task[object]] = set()
    try:
        house = House(loaded, environ, observe=observe)
        reloader = Reloader(house)
        # Before the start, which may wait for PostgreSQL: unhandled, each of these signals kills without a word.
        _on_signals(stop, at_once, reloader, reloads)
        log.info("poolguard starts", extra={"version": __version__, "settings_source": loaded.source})
        if not await _start(house, stop):
            log.info("stopped before it was started")
            return OK
    except (SettingsError, OSError) as error:
        log.error("poolguard can't start", extra={"reason": str(error), "hint": getattr(error, "hint", "")})  # noqa: TRY400 - told in words
        return FAILED
    await reloader.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    await house.watch()
    log.info("poolguard runs", extra=_facts(house, observe=observe))
    await stop.wait()
    await _end(house, reloader, at_once)
    return OK


async def _start(house: House, stop: asyncio.Event) -> bool:
    """Start *house*; False, and nothing is left of it, if *stop* came first. Raises what the start raises."""
    starting = asyncio.create_task(house.start(), name="start")
    stopping = asyncio.create_task(stop.wait(), name="stop while starting")
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        await starting
        return True
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    return False


def _facts(house: House, *, observe: bool) -> dict[str, object]:
    return {
        "version": __version__,
        "python": sys.version.split()[0],
        "settings_hash": house.in_force.hash,
        "settings_source": house.in_force.source,
        "upstream": str(house.targets.default),
        "pools": {name: pool.state.size for name, pool in house.relay.registry.pools.items()},
        "observe": observe,
        "clients_port": house.relay.port,
        "control_port": house.control.port,
        "metrics_port": house.metrics.port,
    }


def _on_signals(
    stop: asyncio.Event, at_once: asyncio.Event, reloader: Reloader, reloads: set[asyncio.Task[object]]
) -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        if stop.is_set():
            at_once.set()
        stop.set()

    def reload() -> None:
        task: asyncio.Task[object] = loop.create_task(reloader.reload(asked="SIGHUP"), name="reload")
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGTERM, end)
    loop.add_signal_handler(signal.SIGINT, end)
    loop.add_signal_handler(signal.SIGHUP, reload)


async def _end(house: House, reloader: Reloader, at_once: asyncio.Event) -> None:
    seconds = house.in_force.settings.limits.drain_timeout
    log.info("draining", extra={"sessions": len(house.ledger.sessions), "timeout_seconds": seconds})
    await reloader.stop()
    drained = asyncio.create_task(house.drain(seconds), name="drain")
    hurried = asyncio.create_task(at_once.wait(), name="second signal")
    await asyncio.wait({drained, hurried}, return_when=asyncio.FIRST_COMPLETED)
    for task in (drained, hurried):
        task.cancel()
    await asyncio.gather(drained, hurried, return_exceptions=True)
    cut_off = len(house.ledger.sessions)
    await house.stop()
    log.info("stopped", extra={"sessions_cut_off": cut_off})
