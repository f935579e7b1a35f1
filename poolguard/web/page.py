"""GET /: the live page for a browser, the list of paths for everything else; and the files that the page is made of.

The page uses nothing from outside, so it works in a cluster without a way out, and the browser is told to keep it so
(Content-Security-Policy). It asks the API as anybody else would. The files are read once, when this is imported.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from poolguard import __version__
from poolguard.core.errors import UnknownPool
from poolguard.web.queries import only
from poolguard.web.replies import reply

_FOLDER: Final = Path(__file__).parent / "assets"
_TYPES: Final = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES: Final[Mapping[str, bytes]] = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir())}
INDEX: Final = "index.html"

HEADERS: Final = {
    # Nothing inline and nothing foreign; nobody may frame it, so that no click on it can be stolen.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A poolguard that was just updated must not meet yesterday's script.
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}


async def get_index(request: web.Request) -> web.Response:
    """The live page for a browser (Accept: text/html), else every path with its methods."""
    if "text/html" in request.headers.get(hdrs.ACCEPT, ""):
        return _file(INDEX)
    paths: dict[str, list[str]] = {}
    for route in request.app.router.routes():
        if route.resource is not None and route.method != "HEAD":
            paths.setdefault(route.resource.canonical, []).append(route.method)
    return reply({"poolguard": __version__, "paths": dict(sorted(paths.items()))}, headers={"Vary": "Accept"})


async def get_file(request: web.Request) -> web.Response:
    """What the live page is made of."""
    only(request.query, ())
    name = request.match_info["name"]
    if name not in FILES:
        raise UnknownPool("the page has no such file")
    return _file(name)


def _file(name: str) -> web.Response:
    return web.Response(body=FILES[name], content_type=_TYPES[Path(name).suffix], charset="utf-8", headers=HEADERS)


ROUTES: Final = (web.get("/", get_index), web.get("/page/{name}", get_file))
