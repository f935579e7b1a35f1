"""GET /v1/errors: deadlocks by the statements that met, duplicate keys by constraint."""

from aiohttp import web

from poolguard.web.queries import only
from poolguard.web.replies import reply
from poolguard.web.sources import CONTROL


async def list_errors(request: web.Request) -> web.Response:
    """Counts since the start of this process, most frequent first."""
    only(request.query, ())
    errors = request.app[CONTROL].errors
    return reply(
        {
            "deadlocks_total": dict(errors.deadlocks),
            "deadlock_pairs": [
                {"statements": [_statement(errors.texts, key) for key in pair], "total": number}
                for pair, number in errors.pairs.most_common()
            ],
            "duplicate_keys": [
                {"pool": pool, "table": table, "constraint": constraint, "total": number}
                for (pool, table, constraint), number in errors.duplicates.most_common()
            ],
        }
    )


def _statement(texts: dict[str, str], key: str) -> dict[str, str | None]:
    return {"fingerprint": key, "text": texts.get(key) or None}


ROUTES = (web.get("/v1/errors", list_errors),)
