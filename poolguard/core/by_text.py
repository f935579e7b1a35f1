"""What is worked out of a statement's text, once: clients send the same texts again and again."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

KEPT: Final = 1024
KEPT_BYTES: Final = 1024
"""How many answers are kept, and of texts up to what length: clients choose the texts."""


class ByText(Generic[T]):
    """A function of a text that remembers its answers, all of them until there are too many."""

    def __init__(self, judge: Callable[[bytes], T]) -> None:
        self._judge = judge
        self._answers: dict[bytes, T] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def __call__(self, text: bytes) -> T:
        """The answer for *text*."""
        try:
            return self._answers[text]
        except KeyError:
            answer = self._judge(text)
        if len(text) <= KEPT_BYTES:
            if len(self._answers) >= KEPT:
                self._answers.clear()
            self._answers[text] = answer
        return answer

    def forget(self) -> None:
        """What was judged by is another thing now."""
        self._answers.clear()
