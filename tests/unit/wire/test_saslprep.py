"""Examples of RFC 4013, section 3, and what PostgreSQL does where SASLprep fails."""

import pytest

from poolguard.wire.saslprep import prepare_password


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("I\u00adX", b"IX"),  # SOFT HYPHEN is mapped to nothing
        ("user", b"user"),
        ("USER", b"USER"),
        ("\u00aa", b"a"),  # NFKC
        ("\u2168", b"IX"),  # NFKC
        ("a\u00a0b", b"a b"),  # a space that is not ASCII
        ("\u0627\u0031\u0628", "\u06271\u0628".encode()),  # right-to-left at both ends
        ("p\u00e4ss", "p\u00e4ss".encode()),
    ],
)
def test_passwords_are_prepared_as_rfc_4013_says(password: str, prepared: bytes) -> None:
    assert prepare_password(password) == prepared


@pytest.mark.parametrize(
    "password",
    [
        "\u0007\u00e9",  # a control character beside something that is not ASCII
        "\u0627\u0031",  # right-to-left text that ends with a digit
        "\u0627a\u0628",  # left-to-right inside of right-to-left
        "\u00ad",  # nothing is left of it
        "\U0001f600",  # not assigned in Unicode 3.2
        "\ue000",  # private use
    ],
)
def test_what_cannot_be_prepared_is_used_raw(password: str) -> None:
    assert prepare_password(password) == password.encode()


def test_plain_ascii_stays_as_it_is_even_with_control_characters() -> None:
    assert prepare_password("a\u0007b") == b"a\x07b"


def test_bytes_that_are_no_utf8_are_used_raw() -> None:
    raw = b"p\xe4ss"
    assert prepare_password(raw.decode("utf-8", "surrogateescape")) == raw
