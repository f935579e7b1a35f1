"""pydantic's errors, said for the person who has to mend the file."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from poolguard.settings.places import Document
from poolguard.settings.problems import Path, Problem, did_you_mean, nearest, path_text
from poolguard.settings.shape import SECRETS, Kind, bare, keys_at, kind_at, kind_words, places_of
from poolguard.settings.written import written


def problems_of(error: ValidationError, document: Document) -> list[Problem]:
    """One problem for each of pydantic's, each with its place. Values that variables gave are not shown.

    What only follows from a problem that *document* has already (a key that is missing because its variable
    is not set) is left out.
    """
    return [
        _problem(details, document)
        for details in error.errors(include_url=False)
        if not any(_follows(details, path) for path in document.unread)
    ]


def _follows(details: ErrorDetails, unread: Path) -> bool:
    path = details["loc"]
    return path[: len(unread)] == unread or (details["type"] == "value_error" and unread[: len(path)] == path)


def _problem(details: ErrorDetails, document: Document) -> Problem:
    path: Path = details["loc"]
    if path and path[-1] == "[key]":
        path = path[:-1]
        return Problem(path, _name_text(str(path[-1])), document.keys.get(path))
    if details["type"] == "unexpected_keyword_argument":
        return Problem(path, _unknown_key_text(path), document.keys.get(path))
    return Problem(path, _text(details, path, document), document.place(path))


def _name_text(name: str) -> str:
    return f"{name[:80]!r} can't be a name: a letter or _, then letters, digits, _ or -, 63 in all at most"


def _unknown_key_text(path: Path) -> str:
    key, around = str(path[-1]), path[:-1]
    known = keys_at(around)
    near = nearest(key, known)
    if near is None and (elsewhere := places_of(key)):
        return f"unknown key here; {key} belongs at {' or '.join(elsewhere[:3])}"
    where = f" in {path_text(around)}" if around else ""
    return f"unknown key{where}; {did_you_mean(key, known)}"


def _text(details: ErrorDetails, path: Path, document: Document) -> str:
    kind, value = kind_at(path), details["input"]
    context: Mapping[str, Any] = details.get("ctx", {})
    shown = _shown(path, value, document)
    match details["type"]:
        case "missing":
            return f"is missing: add it, it is {kind_words(kind)}"
        case "value_error":
            # A value's own error repeats what was written, so it is only passed on where that may be seen.
            if isinstance(value, str) and shown != repr(value):
                return f"{shown} does not fit: write {kind_words(kind)}"
            return str(context["error"])
        case "enum":
            members = [str(member) for member in cast("type[StrEnum]", bare(kind)[0])]
            return f"{shown} is not known; {did_you_mean(str(value), members)}"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            return f"{shown} is out of range: {_range_text(details['type'], context, kind)}"
        case "string_pattern_mismatch":
            return _name_text(str(value)) if shown == repr(value) else f"{shown} can't be a name"
        case _ if value is None:
            return f"is empty: write {kind_words(kind)}, or remove the key to get the default"
        case _:
            return f"{shown} does not fit: write {kind_words(kind)}"


def _shown(path: Path, value: object, document: Document) -> str:
    """What a message may say of *value*: nothing of a secret, the variable instead of what it held."""
    if path in document.written:
        return document.written[path]
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    if path and path[-1] in SECRETS:
        return "this value"
    return repr(value if len(str(value)) <= 80 else str(value)[:77] + "...")


def _range_text(error: str, context: Mapping[str, Any], kind: Kind) -> str:
    words = {
        "greater_than_equal": ("ge", "at least"),
        "greater_than": ("gt", "more than"),
        "less_than_equal": ("le", "at most"),
        "less_than": ("lt", "less than"),
    }
    name, text = words[error]
    return f"it must be {text} {written(kind, context[name])}"
