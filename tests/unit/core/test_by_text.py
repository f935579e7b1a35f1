"""What is worked out of a text is worked out once."""

from poolguard.core.by_text import KEPT, KEPT_BYTES, ByText


def test_an_answer_is_worked_out_once_and_kept() -> None:
    asked: list[bytes] = []

    def judge(text: bytes) -> int | None:
        asked.append(text)
        return len(text) or None

    lengths = ByText(judge)
    assert [lengths(text) for text in (b"abc", b"", b"abc", b"")] == [3, None, 3, None]
    assert asked == [b"abc", b""]
    lengths.forget()
    assert (lengths(b"abc"), asked) == (3, [b"abc", b"", b"abc"])


def test_what_is_kept_has_bounds() -> None:
    lengths = ByText(len)
    for number in range(5 * KEPT):
        lengths(b"%d" % number)
        assert len(lengths) <= KEPT
    before = len(lengths)
    assert lengths(b"x" * (KEPT_BYTES + 1)) == KEPT_BYTES + 1
    assert len(lengths) == before
