"""What others do to a session: the guard, an operator, the client's own cancel request (`cancels`)."""

import asyncio
import logging
from time import monotonic

from poolguard.core.errors import PoolguardError
from poolguard.ledger.entries import Phase
from poolguard.ledger.hands import Outcome
from poolguard.pool.snapshot import CloseReason
from poolguard.relay.block import Block, BlockKind
from poolguard.relay.pipe import IDLE, SWALLOW
from poolguard.relay.server import Server
from poolguard.relay.session import Session
from poolguard.relay.tally import TransactionEnd
from poolguard.wire import messages

log = logging.getLogger(__name__)


def _holds(session: Session, checkout: int) -> Server | None:
    return session.server if session.entry.checkout == checkout and session.block is None else None


async def roll_back(session: Session, checkout: int, error: PoolguardError) -> Outcome:
    """End the transaction, keep the session; see `ledger.hands.Hands.rollback`."""
    server = _holds(session, checkout)
    if server is None:
        return Outcome.VICTIM_MOVED
    if server.replies or session.unsynced or session.copying > 0 or server.status == IDLE:
        return Outcome.REFUSED
    session.counters.tally.cut(session, TransactionEnd.KILLED, monotonic(), gives_back=not session.pin)
    session.block = Block(BlockKind.ENDED, error=error)
    session.regate()
    session.entry.phase = Phase.ENDED
    if session.pin:
        # What pins the server must survive: the same server stays, only its transaction goes.
        server.unnamed = None
        server.replies.append(SWALLOW)
        server.write(messages.query("ROLLBACK"))
        return Outcome.DONE
    session.detach(monotonic())
    undone = session.undo_parameters()
    await asyncio.shield(session.clean(server))
    if not session.closed:
        for name, value in server.parameters.items():
            if name.lower() in undone:
                session.deliver(messages.parameter_status(name, value))
    if session.draining:
        session.fatal(error)  # nothing is left to finish: the drain need not wait for its next message
    return Outcome.DONE


async def cancel(session: Session, checkout: int) -> Outcome:
    """End the running statement."""
    server = _holds(session, checkout)
    if server is not None:
        session.cancel_seen()
        server = _holds(session, checkout)
    if server is None or not (server.replies or session.unsynced):
        return Outcome.VICTIM_MOVED
    # Until the cancel connection has closed, the cancel could hit whatever the client says next.
    session.hush(hushed=True)
    try:
        await server.cancel()
    except (PoolguardError, OSError, TimeoutError):
        log.warning("a cancel request could not be sent", extra={"backend_pid": server.backend_pid})
        return Outcome.FAILED
    finally:
        if not server.cancels and session.server in {server, None}:
            session.hush(hushed=False)
    return Outcome.DONE


async def end(session: Session, error: PoolguardError) -> None:
    """End the session whatever it does, cancelling that first."""
    await terminate(session, session.entry.checkout, error)
    session.fatal(error)  # one that held no server


async def terminate(session: Session, checkout: int, error: PoolguardError, grace: float = 2.0) -> Outcome:
    """Cancel what runs, close the server, end the session."""
    # Also after a rollback that a pin outlived: then the session still holds its server.
    server = session.server if session.entry.checkout == checkout else None
    if server is None:
        return Outcome.VICTIM_MOVED
    unsynced, copying, mid_row = session.unsynced, session.copying > 0, server.mid_row
    session.counters.tally.cut(session, TransactionEnd.KILLED, monotonic())
    session.detach(monotonic())
    server.vacate()
    leave_lane = session.lane_exit()
    if mid_row:  # in half a row an error would be read as data
        session.close_transport()
    else:
        session.fatal(error)
    try:
        await server.end_what_runs(unsynced=unsynced, copying=copying, seconds=grace)
    except (PoolguardError, OSError, TimeoutError):
        log.warning("a statement may still run", extra={"backend_pid": server.backend_pid})
    finally:
        leave_lane()
    server.discard(CloseReason.TERMINATED)
    return Outcome.DONE
