import os
import subprocess
import sys

import pytest

from tests.soak.noise import ProcessClock, ProcessorTime, bound_beside, echo


def test_noise_is_what_a_round_trip_of_one_byte_takes() -> None:
    with echo() as noise:
        for _ in range(20):
            noise.ask()
        assert len(noise.milliseconds) == 20
        assert min(noise.milliseconds) > 0


def test_a_figure_may_be_what_is_promised_and_what_the_machine_adds() -> None:
    assert bound_beside(0.125, 2.0) == 2.125


def test_a_machine_whose_noise_is_loud_lets_nothing_be_judged() -> None:
    assert bound_beside(0.21, 2.0) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")
def test_a_process_waited_for_a_processor_between_never_and_all_the_time() -> None:
    before = ProcessorTime.of(os.getpid())
    while ProcessorTime.of(os.getpid()).ran == before.ran:
        pass
    share = before.waited_share()
    assert share is not None
    assert 0 <= share < 100


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such clocks")
def test_the_clock_of_a_process_goes_while_it_runs_and_stands_while_it_sleeps() -> None:
    awake = ProcessClock.of(os.getpid())
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as sleeping:
        other = ProcessClock.of(sleeping.pid)
        assert awake is not None
        assert other is not None
        began = awake.seconds()
        while awake.seconds() - began < 0.05:
            pass
        assert other.seconds() < 0.05
    assert ProcessClock.of(sleeping.pid) is None


def test_of_a_process_that_is_not_there_nothing_is_known() -> None:
    assert ProcessorTime.of(2**30).waited_share() is None
