import os
import sys

import pytest

from tests.soak.noise import ProcessorTime, bound_beside, echo


def test_noise_is_what_a_round_trip_of_one_byte_takes() -> None:
    with echo() as noise:
        for _ in range(20):
            noise.ask()
        assert len(noise.milliseconds) == 20
        assert min(noise.milliseconds) > 0


def test_a_figure_may_be_what_is_promised_and_what_the_machine_adds() -> None:
    assert bound_beside(0.25, 2.0) == 2.25


def test_a_machine_whose_noise_is_above_the_bound_lets_nothing_be_judged() -> None:
    assert bound_beside(2.01, 2.0) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")
def test_a_process_waited_for_a_processor_between_never_and_all_the_time() -> None:
    before = ProcessorTime.of(os.getpid())
    while ProcessorTime.of(os.getpid()).ran == before.ran:
        pass
    share = before.waited_share()
    assert share is not None
    assert 0 <= share < 100


def test_of_a_process_that_is_not_there_nothing_is_known() -> None:
    assert ProcessorTime.of(2**30).waited_share() is None
