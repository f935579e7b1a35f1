"""What the operating system tells becomes readings."""

import os
import resource
import sys
from pathlib import Path

import pytest

from poolguard.metrics import catalogue as c
from poolguard.metrics.process import (
    open_descriptors,
    process_readings,
    resident_bytes,
    settings_readings,
    start_time,
)
from poolguard.metrics.sources import ReloadResult, SettingsInForce
from poolguard.settings.model import Settings

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")


def test_resident_memory_is_the_second_number_in_pages() -> None:
    assert resident_bytes("100 25 3 4 0 6 0\n") == 25 * resource.getpagesize()


def test_start_is_boot_time_plus_ticks_whatever_the_program_is_called() -> None:
    stat = "42 (a ) b 1) S " + " ".join(["0"] * 18) + " 250 0 0"

    assert start_time(stat, "cpu 1 2\nbtime 1700000000\nctxt 1\n", 100) == 1_700_000_002.5


@linux
def test_an_opened_descriptor_is_counted(tmp_path: Path) -> None:
    before = open_descriptors()
    descriptors = [os.open(tmp_path, os.O_RDONLY) for _ in range(5)]
    after = open_descriptors()
    for descriptor in descriptors:
        os.close(descriptor)

    assert after - before == 5


@linux
def test_this_process_has_memory_cpu_and_a_start() -> None:
    told = {reading.metric: reading.value for reading in process_readings()}

    for metric in (c.PROCESS_RSS, c.PROCESS_CPU, c.PROCESS_FDS, c.PROCESS_START, c.PROCESS_MAX_FDS):
        value = told[metric]
        assert isinstance(value, int | float)
        assert value > 0, metric.name


def test_settings_are_told_by_their_hash_and_reloads_by_result() -> None:
    in_force = SettingsInForce(settings=Settings(), hash="abc", source="file", loaded_at=12.0)
    in_force.reloads[ReloadResult.REFUSED] += 1

    readings = list(settings_readings(in_force, "uvloop"))

    assert [r.labels for r in readings if r.metric is c.SETTINGS_INFO] == [("abc",)]
    assert {r.labels: r.value for r in readings if r.metric is c.RELOADS} == {
        ("applied",): 0,
        ("unchanged",): 0,
        ("refused",): 1,
    }
