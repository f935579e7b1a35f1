"""Control and metrics applications over real ledgers and hand-made snapshots."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from poolguard.core.errors import UnknownPool
from poolguard.core.ids import TransactionId
from poolguard.guard.book import IncidentBook
from poolguard.guard.case import Case
from poolguard.guard.clients import ClientBook
from poolguard.guard.errors import ErrorBook
from poolguard.guard.explain import Explanation, explain
from poolguard.guard.history import Action, History
from poolguard.guard.incidents import Classification, Incident, IncidentKind, IncidentMode, IncidentOutcome
from poolguard.guard.locks.state import LockState
from poolguard.guard.rules import compile_policy
from poolguard.ledger.book import Ledger
from poolguard.ledger.facts import transaction_facts
from poolguard.metrics.sources import SettingsInForce
from poolguard.pool.snapshot import PoolSnapshot
from poolguard.settings.model import Auth, Settings
from poolguard.settings.policies import default_policies
from poolguard.web.app import control_app
from poolguard.web.hosts import OwnNames
from poolguard.web.sources import ControlSources
from tests.support.clock import ManualClock

Client = TestClient[web.Request, web.Application]

JSON = {"Content-Type": "application/json"}


@dataclass
class PlainGuard:
    """Does what it is told to transactions of `ledger`, by writing it down."""

    ledger: Ledger
    done: list[tuple[TransactionId, Action, str]] = field(default_factory=list)

    async def explain(self, transaction_id: TransactionId) -> Explanation:
        entry = self.ledger.holders.get(transaction_id.session)
        if entry is None:
            raise UnknownPool(f"no transaction {transaction_id}")
        rules = compile_policy("app", default_policies()["app"])
        return explain(Case(transaction_facts(entry, 1000.0)), rules, History(), 1000.0)

    async def by_hand(self, transaction_id: TransactionId, action: Action, actor: str) -> Incident:
        entry = self.ledger.holders.get(transaction_id.session)
        if entry is None:
            raise UnknownPool(f"no transaction {transaction_id}")
        self.done.append((transaction_id, action, actor))
        return Incident(
            id="1",
            at=1.0,
            kind=IncidentKind.BY_HAND,
            mode=IncidentMode.ENFORCE,
            pool=entry.pool,
            policy="app",
            settings_hash="abc123",
            action=action,
            outcome=IncidentOutcome.DONE,
            actor=actor,
            classification=Classification.LEAK,
            advice="",
        )


@dataclass
class Control:
    """A control application and what is behind it."""

    admin_token: str = ""
    listen_host: str = "127.0.0.1"
    routes: Sequence[web.AbstractRouteDef] = ()
    pools: list[PoolSnapshot] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    clock: ManualClock = field(default_factory=ManualClock)
    locks: LockState = field(default_factory=LockState)

    def __post_init__(self) -> None:
        self.guard = PlainGuard(self.ledger)
        self.book = IncidentBook(self.clock, lambda _: None, settings_hash="abc123")
        self.settings = SettingsInForce(
            settings=Settings(auth=Auth(admin_token=self.admin_token)),
            hash="abc123",
            source="poolguard.yaml",
            loaded_at=1_700_000_000.0,
        )

        self.errors = ErrorBook(lambda _: None)
        self.clients = ClientBook()

    def client(self) -> Client:
        sources = ControlSources(
            clock=self.clock,
            ledger=self.ledger,
            pools=lambda: self.pools,
            settings=self.settings,
            incidents=self.book,
            guard=self.guard,
            locks=self.locks,
            errors=self.errors,
            clients=self.clients,
            names=OwnNames(self.listen_host),
            routes=self.routes,
        )
        return TestClient(TestServer(control_app(sources)))
