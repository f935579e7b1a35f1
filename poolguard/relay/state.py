"""Everything that is known of one session, and what all sessions share."""

import asyncio
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from poolguard.aio.tasks import TaskOwner
from poolguard.core.errors import PoolguardError, ShuttingDown
from poolguard.core.ids import TransactionId
from poolguard.ledger.book import Ledger
from poolguard.ledger.entries import SessionEntry
from poolguard.ledger.facts import Transaction
from poolguard.pool.pool import Pool
from poolguard.pool.state import Refusal
from poolguard.relay.block import Block
from poolguard.relay.client_pipe import ClientPipe
from poolguard.relay.counters import RelayCounters
from poolguard.relay.listener import Listener
from poolguard.relay.listening import Subscriber
from poolguard.relay.parameters import ParameterSet, Reset
from poolguard.relay.server import Server
from poolguard.relay.statements import HOME, Catalogue, Statement, context_of
from poolguard.relay.unread import Unread
from poolguard.relay.unsure import Change
from poolguard.settings.model import Limits, PoolMode
from poolguard.wire.text import Pin, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all sessions of one relay share."""

    ledger: Ledger
    counters: RelayCounters
    tasks: TaskOwner
    limits: Callable[[], Limits]
    on_starved: Callable[[SessionEntry, float, Refusal, list[Transaction]], None]
    """Told of every wait that failed: who waited, for how many seconds, why it ended, the holders."""
    on_error: Callable[[SessionEntry, Mapping[str, str]], None]
    """Told of errors that have a culprit: the session, and the fields of the ErrorResponse."""
    on_closed: Callable[[Any], None]
    """Told of every session that ended."""
    on_restructured: Callable[[], object]
    """Told when a client changes what names mean in everybody's statements: before it is run, and when it is over."""
    unread: Unread[Any] = field(default_factory=Unread)
    """The sessions whose clients do not read."""
    listener_of: Callable[[Pool[Server]], Listener | None] = lambda _: None
    """The listener of a pool; None: LISTEN there stays in the session's own server."""
    shows_text: Callable[[], bool] = lambda: True
    """Whether an error may show what holders run, or only its fingerprint."""
    lock_root: Callable[[Collection[TransactionId]], str] = lambda _: ""
    """Behind whose lock most of some transactions wait, in words; empty: most do not, or nobody knows."""


CLIENT_FULL: Final = 1
SERVER_FULL: Final = 2
HUSHED: Final = 4


class SessionState(ClientPipe):
    """Everything that is known of one logged-in client. What changes it is in talk.py and session.py."""

    __slots__ = (
        "advisory_lock",
        "afterwards",
        "around",
        "at_login",
        "awaited",
        "batch",
        "began",
        "binding",
        "block",
        "bound",
        "buffer_limit",
        "carry",
        "catalogue",
        "closed",
        "congested",
        "copying",
        "counters",
        "doubted",
        "draining",
        "due",
        "freeing",
        "held",
        "held_parse",
        "held_sql",
        "holders",
        "home",
        "ignored",
        "learning",
        "listens_itself",
        "lost",
        "maps_names",
        "message_limit",
        "pin",
        "pins",
        "pool",
        "portals",
        "probe",
        "reading",
        "resetting",
        "restructured",
        "skipping",
        "spoilt",
        "statements",
        "stranger",
        "strayed",
        "subscriber",
        "undo",
        "unlocking",
        "unsure",
        "verdicts",
        "wanted",
    )

    def __init__(
        self,
        *,
        transport: asyncio.Transport,
        entry: SessionEntry,
        pool: Pool[Server],
        catalogue: Catalogue,
        wanted: ParameterSet,
        around: Surroundings,
    ) -> None:
        tls = transport.get_extra_info("ssl_object") is not None
        super().__init__(transport, tls=tls, entry=entry, take=pool.take)
        self.pool = pool
        self.catalogue = catalogue
        self.wanted = wanted
        """The parameters that its server must have."""
        self.at_login = wanted
        self.due: Reset | None = None
        """A RESET that is about to be sent, behind which the client must be given its own values again."""
        self.resetting: Reset | None = None
        """The same while it is under way."""
        self.undo: tuple[int, ParameterSet] = (0, wanted)
        """A checkout in which parameters changed, and what they were before."""
        self.around = around
        self.counters = around.counters
        self.holders = around.ledger.holders
        self.server: Server | None
        self.pin = "session mode" if pool.settings.mode is PoolMode.SESSION else ""
        self.pins: set[Pin] = set()
        """Why, if not for the mode; `pin` is the first."""
        self.freeing: frozenset[Pin] = frozenset()
        """Those that have ended if what was sent succeeds."""
        self.learning: str | None = None
        """The search_path that it will have if what was sent succeeds; empty: as at its login. See learning.py."""
        self.unlocking = False
        """An advisory lock may have been given back, perhaps the last."""
        self.probe: bytes | None = None
        """While PostgreSQL is asked for the locks that are left: the answer's tag, when it has come."""
        self.ignored = False
        """The server holds state that the pool's setting does not keep: it must be cleaned before it goes on."""
        self.stranger = False
        """Others have used the server since this session held it last."""
        self.maps_names = pool.settings.mode is PoolMode.TRANSACTION and pool.settings.prepared_statements > 0
        """Whether its statements' names are mapped onto ours."""
        self.statements: dict[bytes, Statement] = {}
        self.home = context_of(wanted.items)
        """What names in its statements mean, by its parameters at login."""
        self.doubted: bytes | None = None
        """The unnamed statement that it had when an error came: its Parse may have failed."""
        self.lost: dict[bytes, bytes] = {}
        """By ours, the client's names of which the next error may speak, though they are not in `statements`."""
        self.portals: dict[bytes, Verdict] = {}
        """What its portals will do when they are executed, of those that are not plain."""
        self.verdicts: dict[bytes, Verdict] = {}
        """Where names are not mapped: what those of its named statements mean that are not plain."""
        self.restructured = False
        """It has changed what names in everybody's statements mean; not yet committed, or just now."""
        self.strayed: tuple[int, bytes] = (0, HOME)
        """A checkout in which that may be another thing, and then a context of its own."""
        self.bound: set[Statement] = set()
        """The named statements whose answers are awaited, or were the last."""
        self.unsure: dict[Hashable, Change] = {}
        """Names and statements of which it isn't known yet what they are; see unsure.py."""
        self.batch = 0
        """Counts its batches, where that matters: those that change what names mean."""
        self.awaited: Change | None = None
        """What must be known before it goes on."""
        self.binding: object = None
        """The batch that bound the first of them."""
        self.block: Block | None = None
        """Set while the client's transaction exists only here."""
        self.copying = 0
        """Above 0: in the middle of COPY FROM STDIN."""
        self.closed = False
        self.draining: ShuttingDown | None = None
        """To be ended as soon as it holds and wants nothing."""
        self.afterwards = False
        """There is something to do as soon as it holds and wants nothing: to end, or to tell it notifications."""
        self.began = False
        """In a transaction that it began with BEGIN."""
        self.spoilt = 0
        """The latest of this checkout's statements with which its transaction was in error, by number; 0: none."""
        self.subscriber: Subscriber | None = None
        """Set once it has listened to a channel."""
        self.listens_itself = False
        """Its LISTENs run in its own server, and so pin it."""
        self.advisory_lock = False
        self.skipping = False
        """An error was answered here in the middle of a batch: everything up to Sync is dropped."""
        self.carry: bytes | bytearray = b""
        """A message of which not all has come."""
        self.held: bytes | bytearray | None = None
        """While it waits for a server: what goes on then."""
        self.held_sql: bytes | None = None
        self.held_parse: bytes | None = None
        self.congested = 0
        """CLIENT_FULL: the client does not read. SERVER_FULL: its server does not. HUSHED: a cancel is on its way."""
        self.reading = True
        """The client is read."""
        self.message_limit = around.limits().message_bytes
        self.buffer_limit = around.limits().buffer_bytes
        entry.pin = self.pin

    @property
    def home_pool(self) -> Pool[Server]:
        """The pool that it logged in to; `pool` is the one that it is in."""
        return self.pool

    @property
    def listener(self) -> Listener | None:
        """Who hears for the sessions of the pool it is in; None: each listens in its own server."""
        return self.around.listener_of(self.pool)

    @property
    def fans_out(self) -> bool:
        """Whether its LISTENs are left to the pool's listener."""
        return not self.listens_itself and self.listener is not None

    # What the session does.

    def settled(self, status: int, now: float) -> None:
        """Everything owed has come."""
        raise NotImplementedError

    def deliver(self, data: bytes) -> None:
        """Send to the client."""
        raise NotImplementedError

    def go_on(self) -> None:
        """Take what the client has said meanwhile."""
        raise NotImplementedError

    def leave(self, *, patience: float = 0.0, vanished: bool = False) -> None:
        """End the session."""
        raise NotImplementedError

    def fatal(self, error: PoolguardError) -> None:
        """Tell the client why, and end the session."""
        raise NotImplementedError

    def come_to_rest(self) -> None:
        """Do what had to wait until the session holds and wants nothing."""
        raise NotImplementedError

    def listen_again(self, heard: bool) -> None:
        """A LISTEN that waited may go on."""
        raise NotImplementedError

    @property
    def can_be_told(self) -> bool:
        """Whether a notification may be sent now."""
        raise NotImplementedError

    def hold(self, data: bytes) -> None:
        """Keep *data* while the session waits."""
        raise NotImplementedError

    @staticmethod
    def drop(data: bytes) -> None:
        """Ignore *data*."""
        raise NotImplementedError

    def probed(self, status: int) -> None:
        """PostgreSQL has told whether locks are left."""
        raise NotImplementedError

    def pin_for(self, reason: Pin) -> None:
        """Keep the server beyond the transaction, until *reason* and all others have ended."""
        raise NotImplementedError

    def leaves(self, pins: frozenset[Pin], server: Server) -> None:
        """What pins is about to be executed."""
        raise NotImplementedError
