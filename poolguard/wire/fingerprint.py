"""What a statement looks like without its literals, as a text for people and as a short id; and what its comments say.

Pure. Rules: PostgreSQL docs, 4.1 (Lexical Structure), and PostgreSQL's src/backend/parser/scan.l. Nothing here ever
raises: a statement may be cut off anywhere, may be no SQL at all, and may be in another encoding than UTF-8.
Where two readings of a statement are possible (`_is_ambiguous`) the rest of it is left out rather than guessed.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple
from urllib.parse import unquote

STATEMENT_BYTES: Final = 8192
"""No more of a statement is ever read: bounds the time, and what comes from elsewhere is cut there too."""

TEXT_BYTES: Final = 2048
"""Longest normalised text in UTF-8; a longer one is cut and ends in `...`."""

MAX_WORDS: Final = 2000
"""No more tokens of a statement are read: 8 KiB of ordinary SQL have fewer, and hostile ones may not stall the loop."""

CACHED: Final = 512
MAX_TAGS: Final = 16
MAX_TAG_KEY: Final = 64
MAX_TAG_VALUE: Final = 256


class Fingerprint(NamedTuple):
    """Statements that differ only in literals, parameters, comments, white space and case share one."""

    id: str
    """16 hexadecimal digits, the same in every process. It names the whole normalised text, `text` may be cut."""
    text: str

    def without_text(self) -> "Fingerprint":
        """The same, where texts are not to be shown: its id stands for its text."""
        return Fingerprint(self.id, self.id)


# Every repetition is possessive: no input makes the scan go back, so time is linear.
_HIGH: Final = r"\x80-\U0010ffff"
_WORD: Final = rf"[A-Za-z_{_HIGH}][A-Za-z0-9_${_HIGH}]*+"
# Strings with nothing but white space and a newline between them are one constant; -- comments may stand in the gap.
_GAP: Final = r"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+"
_PLAIN: Final = r"'[^']*+(?:''[^']*+)*+(?:'|\Z)"
_ESCAPED: Final = r"'(?:[^'\\]++|\\(?:.|\Z)|'')*+(?:'|\Z)"
_TOKEN: Final = re.compile(
    rf"""
    (?P<space>[ \t\n\r\f\v]++)
    | (?P<comment>--[^\n\r]*+)
    | (?P<block>/\*)
    | (?P<escaped>[eE]{_ESCAPED}(?:{_GAP}{_ESCAPED})*+)
    | (?P<string>(?:[bBxXnN]|[uU]&)?{_PLAIN}(?:{_GAP}{_PLAIN})*+)
    | (?P<quoted>(?:[uU]&)?"[^"]*+(?:""[^"]*+)*+(?:"|\Z))
    | (?P<dollar>\$(?:[A-Za-z_{_HIGH}][A-Za-z0-9_{_HIGH}]*+)?\$)
    | (?P<parameter>\$[0-9]++)
    | (?P<number>\.?[0-9](?:[eE][+-](?=[0-9])|[A-Za-z0-9_.{_HIGH}])*+)
    | (?P<word>{_WORD})
    | (?P<operator>(?:(?!--|/\*)[-+*/<>=~!@\#%^&|`?])++|::|:=)
    | (?P<other>.)
    """.replace(" \\t", "\\x20\\t"),
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
# An operator of several characters ends in + or - only if one of these is in it (docs, 4.1.3): in `a=-1` two stand.
_LETS_SIGN_END: Final = frozenset("~!@#%^&|`?")
_LITERALS: Final = frozenset({"escaped", "string", "dollar", "parameter", "number"})

# fmt: off
_SPACED_WORDS: Final = frozenset({
    "all", "and", "as", "between", "by", "case", "check", "conflict", "default", "distinct", "else", "except",
    "exists", "filter", "from", "having", "ilike", "in", "intersect", "into", "is", "join", "lateral", "like",
    "limit", "not", "offset", "on", "or", "over", "recursive", "returning", "select", "set", "then", "union",
    "using", "values", "when", "where", "with",
})
# fmt: on
"""After these `(` opens a list, not arguments, and `-` is a sign, not a subtraction."""
_NO_SPACE_BEFORE: Final = frozenset({")", "]", "[", ",", ";", ".", "::", ":"})
_NO_SPACE_AFTER: Final = frozenset({"(", "[", ".", "::", ":", ""})

_ITEM: Final = r"(?:\?|null|true|false|default)(?:::[^\s,()]++)?+"
_IN_LIST: Final = re.compile(rf"\bin \({_ITEM}(?:, {_ITEM})*+\)")
_ARRAY: Final = re.compile(rf"\barray\[{_ITEM}(?:, {_ITEM})*+\]")
_ROW: Final = rf"\({_ITEM}(?:, {_ITEM})*+\)"
_ROWS: Final = re.compile(rf"\bvalues {_ROW}(?:, {_ROW})*+")
_SAME_ROWS: Final = re.compile(r"\bvalues (\((?:[^()]|\([^()]*+\))*+\))(?:, \1)++")
# A list that goes on at the cut: where it was cut depends on the length of its literals.
_CUT_LIST: Final = re.compile(r"\b(?:(values \(\.\.\.\))(?:, ?\(?[^()]*+)|in \([^()]*+)\Z")
# The value of a setting may be a bare word, and is a literal all the same.
_SET: Final = re.compile(
    r"(^|; )((?:alter (?:role|user|database|system)\b[^;]*? )?set (?:session |local )?[^\s;]++ (?:to|=) )"
    r'(?:[^;"]|"[^"]*+")*+'
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
# https://google.github.io/sqlcommenter/spec: key='value' pairs, URL-encoded, a quote inside as \'.
_TAG: Final = re.compile(r"([^\s,='*/]{1,200}+)='((?:[^'\\]|\\.)*+)'")


def statement_text(body: bytes, *, is_parse: bool) -> bytes:
    """Cut the SQL out of a Query's or a Parse's body (PostgreSQL docs, 55.7), at most `STATEMENT_BYTES` of it.

    The body may be cut off anywhere.
    """
    start = 0
    if is_parse:
        start = body.find(b"\0") + 1
        if start == 0:
            return b""
    end = body.find(b"\0", start)
    return body[start : len(body) if end < 0 else end][:STATEMENT_BYTES]


def fingerprint(sql: bytes | str) -> Fingerprint:
    """Name the kind of statement that *sql* is. The latest `CACHED` answers are remembered."""
    return _fingerprint(_raw(sql))


def normalise(sql: bytes | str) -> str:
    """Say *sql* without literals: `?` stands for each and for each parameter, `(...)` for a list of them.

    Comments are dropped, white space and case of unquoted words folded, quoted identifiers kept. At most
    `TEXT_BYTES` long, one line, valid UTF-8.
    """
    return _cap(_normalise(_raw(sql)))


def comment_tags(sql: bytes | str) -> dict[str, str]:
    """Read the sqlcommenter tags in the comments of *sql*: URL-decoded, at most `MAX_TAGS` of bounded length."""
    tags: dict[str, str] = {}
    raw = _raw(sql)
    if b"='" not in raw or b"/*" not in raw:
        return tags
    for comment in _comments(raw):
        for key, value in _TAG.findall(comment):
            if len(tags) == MAX_TAGS:
                return tags
            tags[_printable(unquote(key))[:MAX_TAG_KEY]] = _printable(unquote(value.replace("\\'", "'")))[
                :MAX_TAG_VALUE
            ]
    return tags


def comments_of(sql: bytes | str) -> str:
    """All comments of *sql*, one a line: what `has_marker` finds in it, it finds in these."""
    raw = _raw(sql)
    return "\n".join(_comments(raw)) if b"--" in raw or b"/*" in raw else ""


def has_marker(sql: bytes | str, marker: str) -> bool:
    """Tell whether *marker* stands, as a whole word, in a comment of *sql*: never in a literal or a name."""
    raw = _raw(sql)
    return bool(marker) and marker.encode() in raw and _has_marker(raw, marker)


@lru_cache(maxsize=CACHED)
def _has_marker(raw: bytes, marker: str) -> bool:
    whole = re.compile(rf"(?<![\w:-]){re.escape(marker)}(?![\w:-])")
    return any(whole.search(comment) for comment in _comments(raw))


@lru_cache(maxsize=CACHED)
def _fingerprint(raw: bytes) -> Fingerprint:
    text = _normalise(raw)
    return Fingerprint(blake2b(text.encode(), digest_size=8).hexdigest(), _cap(text))


def _raw(sql: bytes | str) -> bytes:
    raw = sql if isinstance(sql, bytes) else sql[:STATEMENT_BYTES].encode(errors="replace")
    end = raw.find(b"\0", 0, STATEMENT_BYTES)  # no SQL text holds a zero byte: there the protocol's string ends
    return raw[: STATEMENT_BYTES if end < 0 else end]


def _comments(raw: bytes) -> Iterator[str]:
    return (token for kind, token in _tokens(raw.decode(errors="replace")) if kind == "comment")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Cut *text* as PostgreSQL would with standard_conforming_strings on. White space is left out."""
    at, end = 0, len(text)
    while at < end:
        match = _TOKEN.match(text, at)
        assert match is not None, "the last alternative takes any character"
        kind, after = match.lastgroup or "other", match.end()
        if kind == "block":
            kind, after = "comment", _end_of_block(text, after)
        elif kind == "dollar":
            close = text.find(match[0], after)
            after = end if close < 0 else close + len(match[0])
        elif kind == "operator":
            while after - at > 1 and text[after - 1] in "+-" and _LETS_SIGN_END.isdisjoint(text[at:after]):
                after -= 1
        if kind != "space":
            yield kind, text[at:after]
        at = after


def _end_of_block(text: str, at: int) -> int:
    """Find where the block comment ends whose `/*` ends at *at*; they nest. Without an end it takes all."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, at):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


def _is_ambiguous(kind: str, literal: str, before: str) -> bool:
    r"""Tell whether another server, or another client encoding, would end *literal* elsewhere.

    With standard_conforming_strings off (until PostgreSQL 18) `\'` goes on in a plain string too; only the
    one-character `ESCAPE '\'` leaves no doubt. In SJIS, BIG5, GBK and the like, a backslash after a byte above 127 may
    be half a character.
    """
    if kind == "escaped":
        return re.search(r"[^\x00-\x7f]\\", literal) is not None
    return kind == "string" and "\\'" in literal and not (literal == "'\\'" and before == "escape")


def _normalise(raw: bytes) -> str:
    words: list[str] = []
    for kind, token in _tokens(raw.decode(errors="replace")):
        if kind == "comment":
            continue
        if kind in _LITERALS:
            if kind == "number" and len(words) > 1 and words[-1] in {"+", "-"} and _starts_value(words[-2]):
                words.pop()
            ambiguous = _is_ambiguous(kind, token, words[-1] if words else "")
            words.append("?")
            if ambiguous:
                break
        elif kind == "word":
            words.append(token.lower() if token.isascii() else token.translate(_LOWER))
        elif kind == "quoted" and not (token.endswith('"') and len(token.lstrip("uU&")) > 1):
            words.append("?")  # cut off: who knows what else is in it
        else:
            words.append(token)
        if len(words) == MAX_WORDS:
            break
    cut = len(raw) == STATEMENT_BYTES or len(words) == MAX_WORDS
    return _CONTROL.sub(" ", _fold(_join(words), cut=cut))


def _starts_value(before: str) -> bool:
    return before in _SPACED_WORDS or before in {"(", "[", ",", "::"} or before[0] in "-+*/<>=~!@#%^&|`"


def _join(words: list[str]) -> str:
    parts: list[str] = []
    before = ""
    for word in words:
        if before not in _NO_SPACE_AFTER and word not in _NO_SPACE_BEFORE and not _opens_arguments(before, word):
            parts.append(" ")
        parts.append(word)
        before = word
    return "".join(parts)


def _opens_arguments(before: str, word: str) -> bool:
    return word == "(" and before not in _SPACED_WORDS and (before[-1] in '_"' or before[-1].isalnum())


def _fold(text: str, *, cut: bool) -> str:
    text = _IN_LIST.sub("in (...)", text)
    text = _ARRAY.sub("array[...]", text)
    text = _ROWS.sub("values (...)", text)
    text = _SAME_ROWS.sub(r"values \1", text)
    if cut:
        text = _CUT_LIST.sub(lambda match: match[1] or "in (...)", text)
    return _SET.sub(r"\1\2?", text).rstrip("; ")


def _printable(text: str) -> str:
    return _CONTROL.sub(" ", text).encode(errors="replace").decode()


def _cap(text: str) -> str:
    raw = text.encode()
    return text if len(raw) <= TEXT_BYTES else raw[: TEXT_BYTES - 3].decode(errors="ignore") + "..."
