"""How a test waits for something that no event announces: bounded, and it says what was missing."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


class _Attempts:
    """What the last try said, for the message of the failure."""

    def __init__(self, within: float, monotonic: Callable[[], float]) -> None:
        self._within = within
        self._monotonic = monotonic
        self._deadline = monotonic() + within
        self._last: object = None

    def missed(self, last: object) -> None:
        """Note a try that was not it; raises AssertionError when the time is up."""
        self._last = last
        if self._monotonic() >= self._deadline:
            cause = last if isinstance(last, AssertionError) else None
            raise AssertionError(f"not within {self._within:g} s; the last try gave: {last!r}") from cause


def eventually(
    check: Callable[[], T],
    *,
    within: float = 5.0,
    every: float = 0.01,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call *check* until it returns something true, and return that; an AssertionError in it means not yet.

    Raises AssertionError after *within* seconds with what the last try gave. Other exceptions pass at once.
    """
    attempts = _Attempts(within, monotonic)
    while True:
        try:
            result = check()
        except AssertionError as error:
            attempts.missed(error)
        else:
            if result:
                return result
            attempts.missed(result)
        sleep(every)


@overload
async def eventually_async(
    check: Callable[[], Awaitable[T]],
    *,
    within: float = ...,
    every: float = ...,
    monotonic: Callable[[], float] = ...,
    sleep: Callable[[float], Awaitable[None]] = ...,
) -> T: ...
@overload
async def eventually_async(
    check: Callable[[], T],
    *,
    within: float = ...,
    every: float = ...,
    monotonic: Callable[[], float] = ...,
    sleep: Callable[[float], Awaitable[None]] = ...,
) -> T: ...
async def eventually_async(
    check: Callable[[], object],
    *,
    within: float = 5.0,
    every: float = 0.01,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> object:
    """`eventually` on the running loop; *check* may be a plain function or a coroutine function."""
    attempts = _Attempts(within, monotonic)
    while True:
        try:
            answer = check()
            result = await answer if inspect.isawaitable(answer) else answer
        except AssertionError as error:
            attempts.missed(error)
        else:
            if result:
                return result
            attempts.missed(result)
        await sleep(every)
