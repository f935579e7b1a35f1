"""GET /v1/errors: deadlocks by the statements that met, duplicate keys by constraint."""

from typing import Final

from aiohttp import web

from poolguard.guard.errors import Offence
from poolguard.web.queries import only
from poolguard.web.replies import reply
from poolguard.web.sources import CONTROL

_DUPLICATE: Final = ("pool", "table", "constraint")


async def list_errors(request: web.Request) -> web.Response:
    """Counts since the start of this process, most frequent first."""
    only(request.query, ())
    sources = request.app[CONTROL]
    errors, texts = sources.errors, sources.errors.texts if sources.shows_text else {}
    return reply(
        {
            "deadlocks_total": dict(errors.deadlocks),
            "deadlock_pairs": [
                {"statements": [_statement(texts, key) for key in pair], "total": number}
                for pair, number in errors.pairs.most_common()
            ],
            "duplicate_keys": [
                {
                    **dict(zip(_DUPLICATE, key, strict=True)),
                    "total": number,
                    "latest": _offence(errors.latest.get(key), shows_text=sources.shows_text),
                }
                for key, number in errors.duplicates.most_common()
            ],
        }
    )


def _offence(offence: Offence | None, *, shows_text: bool) -> dict[str, object] | None:
    if offence is None:
        return None
    name, text = offence.statement
    statement = _statement({name: text} if shows_text else {}, name)
    return {"application_name": offence.application_name, "statement": statement, "tags": offence.tags}


def _statement(texts: dict[str, str], key: str) -> dict[str, str | None]:
    return {"fingerprint": key, "text": texts.get(key) or None}


ROUTES = (web.get("/v1/errors", list_errors),)
