"""YAML text to plain data, with the line and column of every key and value.

Scalars stay the text that was written, but for null: types are the model's business. So `no` is a fine user
name, `0123` a fine password, and `size: yes` is refused instead of meaning 1.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from poolguard.settings.fill import fill
from poolguard.settings.problems import Path, Place, Problem

MOST_VALUES: Final = 100_000
"""Aliases can make a small file unfold into gigabytes; no honest one has this many values."""

_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "tag:yaml.org,2002:merge"
_PLAIN_TAGS: Final = frozenset(
    "tag:yaml.org,2002:" + kind
    for kind in ("str", "int", "float", "bool", "timestamp", "value", "map", "seq", "null", "merge")
)
_NOT_GIVEN: Final = object()


class _TooMany(Exception):
    pass


@dataclass(slots=True)
class Document:
    """What a text holds. *data* is maps, lists, text and None, as far as it could be read."""

    data: dict[str, object] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    """Scalars into which variables were filled, as they stand in the file: what messages may show of them."""
    filled: dict[Path, str] = field(default_factory=dict)
    """The same scalars with their variables filled in: what messages may not show."""
    unread: set[Path] = field(default_factory=set)
    """What stands in the file but is not in *data*, because of a problem with it."""
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path) -> Place | None:
        """Where the value at *path* begins, or the nearest thing around it that stands in the file."""
        for end in range(len(path), -1, -1):
            if (place := self.values.get(path[:end])) is not None:
                return self.keys.get(path[:end], place) if end < len(path) else place
        return None

    def hide(self, path: Path, text: str) -> str:
        """Say in *text*, which is about the value at *path*, the variable instead of what it held."""
        if not (secret := self.filled.get(path)):
            return text
        return text.replace(repr(secret) if repr(secret) in text else secret, self.written[path])


def read(text: str, environ: Mapping[str, str]) -> Document:
    """Read one YAML document. What is wrong with it stands in the result's problems; nothing is raised."""
    document = Document()
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None and not _is_null(root):
            _Reader(document, environ).read_root(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else None
        document.problems.append(Problem((), _syntax_text(error), place))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        text_ = "a character that YAML doesn't allow: remove it, or write it in double quotes as an \\x escape"
        document.problems.append(Problem((), text_, Place(line, 1)))
    except _TooMany:
        document.problems.append(Problem((), f"more than {MOST_VALUES} values, aliases (*name) written out: too many"))
    except RecursionError:
        document.problems.append(Problem((), "nested too deeply to be settings"))
    return document


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _syntax_text(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "syntax error"
    if "alias" in problem or "anchor" in problem or "tag" in problem:
        # Names of aliases, anchors and tags are not shown: it is how an unquoted password looks to YAML.
        return "not valid YAML: a value that begins with *, & or ! must be written in quotes"
    shown = re.sub(r"'((?:[^'\\]|\\.)*)'", lambda quoted: quoted[0] if _is_harmless(quoted[1]) else "...", problem)
    hint = {
        "mapping values are not allowed here": "check the indentation, and quote values that hold ': '",
        "found character '\\t' that cannot start any token": "indent with spaces, not with tabs",
        "expected <block end>, but found '<block mapping start>'": "check the indentation",
        "expected ',' or '}', but got '{'": 'inside of { } write a variable in quotes, as "${NAME}"',
    }.get(problem, "check indentation, quotes and brackets here and on the line above")
    return f"not valid YAML: {shown}; {hint}"


def _is_harmless(token: str) -> bool:
    """Punctuation, or a name of YAML's such as <block end>: not something from the file."""
    return len(token) <= 2 or token.startswith("<")


class _Reader:
    """Walks the nodes of one document."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ
        self._open: set[int] = set()
        self._seen = 0

    def read_root(self, root: yaml.Node) -> None:
        if not isinstance(root, yaml.MappingNode):
            self._problem((), "the file must be a map: write for example 'pools:' at its top", root)
            return
        data = self._value(root, ())
        assert isinstance(data, dict), "a mapping node gives a dict"
        self._document.data = data

    def _problem(self, path: Path, text: str, node: yaml.Node) -> None:
        self._document.problems.append(Problem(path, text, _place(node)))

    def _unread(self, path: Path, text: str, node: yaml.Node) -> object:
        self._problem(path, text, node)
        self._document.unread.add(path)
        return _NOT_GIVEN

    def _count(self) -> None:
        self._seen += 1
        if self._seen > MOST_VALUES:
            raise _TooMany

    def _value(self, node: yaml.Node, path: Path) -> object:
        self._document.values[path] = _place(node)
        self._count()
        if node.tag not in _PLAIN_TAGS:
            return self._unread(path, "tags (!...) are not supported: quote a value that begins with !", node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            return self._unread(path, "an alias (*name) that holds itself: write the values out", node)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            assert isinstance(node, yaml.SequenceNode), "YAML has three kinds of node"
            return self._sequence(node, path)
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        if _is_null(node):
            return None
        text: str = node.value
        if "${" not in text:
            return text
        filled = fill(text, self._environ)
        if filled.problems:
            return self._unread(path, "; ".join(filled.problems), node)
        self._document.written[path] = text
        self._document.filled[path] = filled.value
        # Unquoted and filled to nothing counts as not given, so that the default holds: ${DIR:-} can leave a
        # setting alone, whatever its type.
        return _NOT_GIVEN if node.style is None and not filled.value else filled.value

    def _sequence(self, node: yaml.SequenceNode, path: Path) -> list[object]:
        # Positions must stay those of the file: an item that is filled to nothing is empty text.
        items = (self._value(item, (*path, index)) for index, item in enumerate(node.value))
        return ["" if item is _NOT_GIVEN else item for item in items]

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        data: dict[str, object] = {}
        for name, (key, value) in self._pairs(node, path).items():
            self._document.keys[*path, name] = _place(key)
            read = self._value(value, (*path, name))
            if read is not _NOT_GIVEN:
                data[name] = read
        return data

    def _pairs(self, node: yaml.MappingNode, path: Path) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            self._count()
            if key.tag == _MERGE:
                merged = {**self._merged(value, path), **merged}
            elif not isinstance(key, yaml.ScalarNode):
                self._problem(path, "a key must be plain text", key)
            elif key.value in own:
                first = _place(own[key.value][0]).line
                self._problem((*path, key.value), f"written twice, first on line {first}: keep one of them", key)
            else:
                own[key.value] = (key, value)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, path: Path) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for part in parts:
            if not isinstance(part, yaml.MappingNode) or id(part) in self._open:
                self._problem(path, "<< merges maps: write << with an alias of a map, as <<: *name", part)
                continue
            self._open.add(id(part))
            merged = {**self._pairs(part, path), **merged}
            self._open.discard(id(part))
        return merged
