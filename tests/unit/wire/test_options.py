"""The startup parameter `options` (wire case S8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolguard.core.errors import ClientViolation, NotSupported
from poolguard.wire.options import parse_options, quote_option, split_words


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", ()),
        ("   ", ()),
        ("-c a=b", (("a", "b"),)),
        ("-ca=b", (("a", "b"),)),
        ("--a-b=c", (("a_b", "c"),)),
        ("-c a-b=c", (("a_b", "c"),)),
        ("-c a=b -cc=d --e=f", (("a", "b"), ("c", "d"), ("e", "f"))),
        ("\t-c\n a=b ", (("a", "b"),)),
        (r"-c search_path=a,\ b", (("search_path", "a, b"),)),
        (r"-c a=x\\y", (("a", r"x\y"),)),
        ("-c a=", (("a", ""),)),
        ("-c a=b=c", (("a", "b=c"),)),
        ("-c a=b+c", (("a", "b+c"),)),
        ("""-c search_path="a",'b'""", (("search_path", "\"a\",'b'"),)),
        ("-c search_path=x;DROP", (("search_path", "x;DROP"),)),
        (r"-c search_path=x\ -c\ fsync=off", (("search_path", "x -c fsync=off"),)),
        ("-c my.custom=1", (("my.custom", "1"),)),
    ],
)
def test_settings_are_read_as_a_server_process_reads_them(text: str, settings: object) -> None:
    assert parse_options(text) == settings


@pytest.mark.parametrize("text", ["-c", "-c a", "--a", "-c =b", "-c a;b=c", "-c 1a=b", '-c "a"=b', "--=b"])
def test_malformed_settings_are_refused(text: str) -> None:
    with pytest.raises(ClientViolation, match="invalid options"):
        parse_options(text)


@pytest.mark.parametrize("text", ["-F", "-S 64", "word", "-d 5"])
def test_other_switches_are_not_supported(text: str) -> None:
    with pytest.raises(NotSupported, match="invalid command-line argument"):
        parse_options(text)


def test_a_backslash_at_the_end_means_nothing() -> None:
    assert split_words("ab\\") == ["ab"]


@given(st.lists(st.tuples(st.from_regex(r"[a-z_][a-z0-9_]{0,9}", fullmatch=True), st.text())))
def test_what_is_quoted_is_read_back_and_nothing_is_injected(settings: list[tuple[str, str]]) -> None:
    text = " ".join(quote_option(name, value) for name, value in settings)
    assert parse_options(text) == tuple(settings)
