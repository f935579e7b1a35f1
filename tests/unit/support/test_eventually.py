"""Waiting is bounded, and says what was missing."""

import pytest

from tests.support.eventually import eventually, eventually_async


class Watch:
    """A clock that a sleep moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.now += seconds


def not_yet_then(*results: str | None) -> list[str | None]:
    return list(reversed(results))


def test_the_first_true_answer_is_returned() -> None:
    watch, answers = Watch(), not_yet_then(None, "", "there")
    assert eventually(answers.pop, monotonic=watch.monotonic, sleep=watch.sleep) == "there"
    assert watch.now == pytest.approx(0.02)


def test_what_is_true_at_once_costs_no_wait() -> None:
    watch = Watch()
    assert eventually(lambda: True, monotonic=watch.monotonic, sleep=watch.sleep)
    assert watch.now == 0


def test_when_time_is_up_the_last_answer_is_told() -> None:
    watch = Watch()
    with pytest.raises(AssertionError, match=r"not within 2 s; the last try gave: \[\]"):
        eventually(list, within=2.0, monotonic=watch.monotonic, sleep=watch.sleep)
    assert watch.now == pytest.approx(2.0, abs=0.02)


def test_a_failed_assertion_means_not_yet_and_is_told_in_the_end() -> None:
    watch = Watch()

    def check() -> bool:
        assert watch.now > 1.0, "still early"
        return True

    assert eventually(check, monotonic=watch.monotonic, sleep=watch.sleep)
    watch.now = 0.0
    with pytest.raises(AssertionError, match="still early"):
        eventually(check, within=0.5, monotonic=watch.monotonic, sleep=watch.sleep)


def test_any_other_exception_passes_at_once() -> None:
    watch = Watch()
    with pytest.raises(ZeroDivisionError):
        eventually(lambda: 1 / 0, monotonic=watch.monotonic, sleep=watch.sleep)
    assert watch.now == 0


async def test_on_a_loop_plain_and_coroutine_checks_both_work() -> None:
    watch, answers = Watch(), not_yet_then(None, "plain", None, "awaited")

    async def check() -> str | None:
        return answers.pop()

    assert await eventually_async(answers.pop, monotonic=watch.monotonic, sleep=watch.sleep_async) == "plain"
    assert await eventually_async(check, monotonic=watch.monotonic, sleep=watch.sleep_async) == "awaited"


async def test_on_a_loop_time_is_up_too() -> None:
    watch = Watch()
    with pytest.raises(AssertionError, match="not within 1 s"):
        await eventually_async(lambda: False, within=1.0, monotonic=watch.monotonic, sleep=watch.sleep_async)
