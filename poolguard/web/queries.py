"""What callers write in a query string or body, read strictly: a misspelt filter must not silently match all."""

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

from aiohttp import web

from poolguard.core.errors import ClientViolation
from poolguard.core.ids import TransactionId

LIMIT: Final = 100
"""How many items an answer has unless the caller says otherwise."""
MAX_LIMIT: Final = 500
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


class BadRequest(ClientViolation):
    """The request can't be understood; the message says what to write."""

    code = "bad_request"


def text(value: object, name: str, most: int) -> str:
    """*value*, what was sent as *name*, if it is a printable text of 1 to *most* characters."""
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= most:
        raise BadRequest(f"{name} must be a text of 1 to {most} printable characters")
    return value


def only(query: Mapping[str, str], allowed: Collection[str]) -> None:
    """Raise BadRequest if *query* has a parameter that is not *allowed*, or one twice: only the first would count."""
    unknown = sorted(set(query) - set(allowed))
    if unknown:
        raise BadRequest(
            f"unknown parameter {unknown[0][:64]!r}", hint=f"There are: {', '.join(sorted(allowed)) or 'none'}."
        )
    if len(query) > len(set(query)):
        twice = next(name for name, times in Counter(given for given, _ in query.items()).items() if times > 1)
        raise BadRequest(f"the parameter {twice!r} is given more than once", hint="Ask once for each value.")


def page(query: Mapping[str, str]) -> tuple[int, int]:
    """(limit, offset) of *query*."""
    return whole_number(query, "limit", LIMIT, MAX_LIMIT), whole_number(query, "offset", 0, 10**9)


def whole_number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """The parameter *name*: 0 to *most*, or *default* if it is not there."""
    text = query.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or int(text) > most:
        raise BadRequest(f"{name} must be a whole number of at most {most}")
    return int(text)


def choice(query: Mapping[str, str], name: str, choices: Collection[str]) -> str | None:
    """The parameter *name*, which must be one of *choices*; None if it is not there."""
    text = query.get(name)
    if text is not None and text not in choices:
        raise BadRequest(f"{name} can't be {text[:64]!r}", hint=f"It is one of: {', '.join(sorted(choices))}.")
    return text


def transaction_id(request: web.Request) -> TransactionId:
    """The transaction that the path names."""
    try:
        return TransactionId.parse(request.match_info["id"])
    except ValueError as error:
        raise BadRequest(str(error)) from None


async def json_object(request: web.Request, allowed: Collection[str]) -> dict[str, object]:
    """The body: a JSON object with no other keys than *allowed*; an absent body is an empty object."""
    text = await request.read()
    try:
        value = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    unknown = sorted(set(value) - set(allowed))
    if unknown:
        raise BadRequest(f"unknown key {unknown[0][:64]!r}", hint=f"There are: {', '.join(sorted(allowed))}.")
    return value
