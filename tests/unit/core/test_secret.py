import pytest

from poolguard.core.secret import same


@pytest.mark.parametrize("text", ["", "a", "ä" * 1000, "\udcff"])
def test_a_secret_is_the_same_as_itself(text: str) -> None:
    assert same(text, text)


@pytest.mark.parametrize(("given", "right"), [("", "a"), ("a", "A"), ("a", "ab"), ("ab", "a")])
def test_anything_else_is_another(given: str, right: str) -> None:
    assert not same(given, right)
