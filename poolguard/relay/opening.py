"""How the servers of a pool are opened, and how what runs on one is cancelled."""

from typing import Final

from poolguard.pool.pool import Pool
from poolguard.relay.server import Server
from poolguard.upstream.link import Link, open_link, send_cancel
from poolguard.upstream.target import Target

CANCEL_SECONDS: Final = 5.0
"""How long PostgreSQL may take to close a cancel connection."""


async def open_for(pool: Pool[Server], target: Target, *, listening: bool = False) -> Link:
    """Open a connection for *pool*. *listening*: its listening server's, which says so in pg_stat_activity."""
    settings = pool.settings
    name = settings.application_name or f"poolguard {pool.name}"
    parameters = {"application_name": f"{name} listens" if listening else name}
    if settings.role is not None:
        parameters["role"] = settings.role
    return await open_link(target, parameters=parameters)


async def nobody_yet() -> Server:
    """The opener of a pool that has none."""
    raise AssertionError("a pool was asked for a server before it had an opener")


async def cancel(link: Link) -> None:
    """Cancel what runs on *link*."""
    await send_cancel(link, timeout=CANCEL_SECONDS)
