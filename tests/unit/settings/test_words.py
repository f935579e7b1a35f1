from poolguard.settings.shape import leaves
from poolguard.settings.words import WORDS


def test_every_setting_has_its_line_and_no_line_is_left_over() -> None:
    assert list(WORDS) == [leaf.path for leaf in leaves()]


def test_lines_are_sentences() -> None:
    assert [text for text in WORDS.values() if not text.endswith(".") or "|" in text or "\n" in text] == []
