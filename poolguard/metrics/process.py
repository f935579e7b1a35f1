"""This process: memory, CPU, descriptors, garbage collector, versions and settings.

Reads the operating system, a few microseconds each. What it doesn't tell (macOS has no /proc) is left out.
"""

import contextlib
import gc
import os
import platform
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from poolguard import __version__
from poolguard.metrics import catalogue as c
from poolguard.metrics.reading import Reading
from poolguard.metrics.sources import SettingsInForce

_PROC: Final = Path("/proc/self")
_DESCRIPTORS: Final = Path("/proc/self/fd")


def process_readings() -> Iterator[Reading]:
    """Memory, CPU, descriptors, garbage collector."""
    cpu = os.times()
    yield Reading(c.PROCESS_CPU, (), cpu.user + cpu.system)
    with contextlib.suppress(OSError):
        yield Reading(c.PROCESS_RSS, (), resident_bytes((_PROC / "statm").read_text(encoding="ascii")))
    with contextlib.suppress(OSError):
        yield Reading(c.PROCESS_FDS, (), open_descriptors())
    yield Reading(c.PROCESS_MAX_FDS, (), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield Reading(c.PROCESS_START, (), _STARTED)
    for generation, figures in enumerate(gc.get_stats()):
        label = (str(generation),)
        yield Reading(c.GC_COLLECTIONS, label, figures["collections"])
        yield Reading(c.GC_UNCOLLECTABLE, label, figures["uncollectable"])


def settings_readings(settings: SettingsInForce, loop: str) -> Iterator[Reading]:
    """What runs, with which settings, and how reloads went."""
    yield Reading(c.BUILD_INFO, (__version__, platform.python_version(), loop), 1)
    yield Reading(c.SETTINGS_INFO, (settings.hash,), 1)
    yield Reading(c.SETTINGS_LOADED, (), settings.loaded_at)
    for result, number in settings.reloads.items():
        yield Reading(c.RELOADS, (result.value,), number)


def resident_bytes(statm: str) -> int:
    """Resident memory out of /proc/PID/statm: the second number, in pages (man 5 proc)."""
    return int(statm.split()[1]) * resource.getpagesize()


def open_descriptors() -> int:
    """How many descriptors are open. Raises OSError where there is no /proc.

    Since Linux 6.2 the folder's size is their number; before that they are listed, at 2 µs each.
    """
    return _DESCRIPTORS.stat().st_size or sum(1 for _ in _DESCRIPTORS.iterdir())


def start_time(stat: str, system_stat: str, ticks_per_second: int) -> float:
    """Seconds since 1970 at which the process started, out of /proc/PID/stat and /proc/stat.

    The program's name is in brackets and may hold anything, so fields are counted from its closing one.
    """
    ticks = int(stat.rpartition(")")[2].split()[19])
    boot = next(line for line in system_stat.splitlines() if line.startswith("btime "))
    return float(boot.split()[1]) + ticks / ticks_per_second


def _started() -> float:
    try:
        return start_time(
            (_PROC / "stat").read_text(encoding="utf-8", errors="replace"),
            Path("/proc/stat").read_text(encoding="ascii"),
            os.sysconf("SC_CLK_TCK"),
        )
    except OSError:
        return time.time()  # no /proc: this module is imported within a second of the start


_STARTED: Final = _started()
