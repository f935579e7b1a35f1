import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.core.ids import SessionId, TransactionId


@given(st.integers(0, 2**64), st.integers(0, 2**64))
def test_a_written_id_reads_as_the_same(session: int, checkout: int) -> None:
    transaction = TransactionId(SessionId(session), checkout)
    assert TransactionId.parse(str(transaction)) == transaction


@pytest.mark.parametrize(
    "text", ["", "12", "-", "1-", "-1", "1-2-3", "a-b", "1 - 2", "+1-2", "\N{SUPERSCRIPT TWO}-1", "٣-1"]
)
def test_anything_else_is_no_id_and_the_error_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match="looks like 12-3"):
        TransactionId.parse(text)


def test_the_error_does_not_repeat_a_long_text() -> None:
    with pytest.raises(ValueError, match="looks like") as refused:
        TransactionId.parse("x" * 10_000)
    assert len(str(refused.value)) < 100
