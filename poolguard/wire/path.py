"""A SET of search_path that can be said again, on another server, word by word. Pure."""

import re
from typing import Final

LONGEST: Final = 1024
"""Bytes of a value that is kept."""

_GAP: Final = rb"(?:\s++|--[^\n\r]*+[\n\r]|/\*(?:[^*/]++|\*(?!/)|/(?!\*))*+\*/)*+"
# ASCII, so that client_encoding does not matter, and no backslash, so that standard_conforming_strings does not.
_ITEM: Final = rb"(?:[A-Za-z_][A-Za-z0-9_$]*+|\"(?:[ !#-\[\]-~]|\"\")++\"|'(?:[ -&(-\[\]-~]|'')*+')"
_LONE: Final = re.compile(
    _GAP + rb"set\s++(?:session\s++)?+search_path(?:\s++to(?=[\s\"'])|\s*+=)\s*+"
    rb"(?P<value>" + _ITEM + rb"(?:\s*+,\s*+" + _ITEM + rb")*+)" + _GAP + rb"(?:;" + _GAP + rb")*+",
    re.IGNORECASE,
)


def path_of(sql: bytes) -> str | None:
    """What one `SET [SESSION] search_path TO ...` gives it: names, literals and commas as they stand; else None.

    *sql* is one statement. DEFAULT and what is longer than LONGEST are no value. PostgreSQL takes any list of names,
    whether such schemas exist or not, so what it took once it takes again (docs, 20.11.1).
    """
    match = _LONE.fullmatch(sql)
    if match is None or len(match["value"]) > LONGEST or match["value"].lower() == b"default":
        return None
    return match["value"].decode("ascii")
