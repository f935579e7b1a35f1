"""SASLprep (RFC 4013) of passwords, as PostgreSQL does it: what can't be prepared is used as it stands."""

import stringprep
import unicodedata
from typing import Final

_PROHIBITED: Final = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def prepare_password(password: str) -> bytes:
    """Give the bytes that SCRAM hashes for *password*.

    Never fails: PostgreSQL lets a password in any encoding be set, so one that SASLprep prohibits goes in raw
    (src/common/saslprep.c, src/backend/libpq/auth-scram.c). Bytes that are no UTF-8 come in as surrogate escapes.
    """
    if password.isascii():
        # Also control characters, which RFC 4013 prohibits: PostgreSQL doesn't look at plain ASCII.
        return password.encode("ascii")
    try:
        raw = password.encode("utf-8")
    except UnicodeEncodeError:
        return password.encode("utf-8", "surrogateescape")
    prepared = _saslprep(password)
    return raw if prepared is None else prepared.encode("utf-8")


def _saslprep(text: str) -> str | None:
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    if not normal or any(table(char) for char in normal for table in _PROHIBITED):
        return None
    if any(stringprep.in_table_d1(char) for char in normal):
        # RFC 3454, section 6: right-to-left text holds no left-to-right letter, and begins and ends right-to-left.
        if any(stringprep.in_table_d2(char) for char in normal):
            return None
        if not (stringprep.in_table_d1(normal[0]) and stringprep.in_table_d1(normal[-1])):
            return None
    return normal
