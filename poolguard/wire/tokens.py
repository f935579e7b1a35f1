"""Statements cut into words, as PostgreSQL's lexer would: neither a comment, nor a literal, nor a quote hides anything.

Read as with standard_conforming_strings on; a session that turns it off is the caller's to keep apart.
"""

import re
from typing import Final

_TOKEN: Final = re.compile(
    rb"""
      (?P<space>\s+|--[^\n\r]*)
    | (?P<comment>/\*)
    | (?P<literal>[eE]'(?:[^'\\]|''|\\.)*(?:'|\Z)|'(?:[^']|'')*(?:'|\Z))
    | (?P<dollar>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$)
    | (?P<escaped>[uU]&"(?:[^"]|"")*(?:"|\Z))
    | (?P<quoted>"(?:[^"]|"")*(?:"|\Z))
    | (?P<word>[A-Za-z_\x80-\xff][\w$\x80-\xff]*)
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE: Final = re.compile(rb"/\*|\*/")
_ESCAPE: Final = re.compile(rb"\\(?:\\|\+([0-9A-Fa-f]{6})|([0-9A-Fa-f]{4}))")

LITERAL: Final = b"'"
"""What stands for any literal."""


def statements(sql: bytes) -> list[list[bytes]]:
    """The words of each statement, lowered; a quoted name as `"name`, anything else but space as it stands."""
    found: list[list[bytes]] = [[]]
    position = 0
    while match := _TOKEN.match(sql, position):
        position = match.end()
        match match.lastgroup:
            case "word":
                found[-1].append(match[0].lower())
            case "quoted":
                found[-1].append(b'"' + _name(match[0][1:]))
            case "escaped":
                found[-1].append(b'"' + _ESCAPE.sub(_unescaped, _name(match[0][3:])))
            case "comment":
                position = _after_comment(sql, position)
            case "dollar":
                closing = sql.find(match[0], position)
                position = len(sql) if closing < 0 else closing + len(match[0])
                found[-1].append(LITERAL)
            case "literal":
                found[-1].append(LITERAL)
            case "end":
                found.append([])
            case "other":
                found[-1].append(match[0])
            case _:
                pass
    return [words for words in found if words]


def _name(quoted: bytes) -> bytes:
    return quoted.removesuffix(b'"').replace(b'""', b'"')


def _unescaped(match: re.Match[bytes]) -> bytes:
    """One escape of U&"..." (PostgreSQL docs, 4.1.1); what is no character stays as it stands."""
    digits = match[1] or match[2]
    if digits is None:
        return b"\\"
    code = int(digits, 16)
    return chr(code).encode("utf-8", "surrogatepass") if code < 0x110000 else match[0]


def _after_comment(sql: bytes, position: int) -> int:
    """Comments nest in PostgreSQL (docs, 4.1.5)."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(sql, position)):
        depth += 1 if edge[0] == b"/*" else -1
        position = edge.end()
    return len(sql) if depth else position
