"""What a pool's clients are greeted with, and which of their startup parameters PostgreSQL accepts."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from poolguard.core.errors import ClientViolation, PoolguardError
from poolguard.pool.pool import Pool
from poolguard.pool.state import Refusal
from poolguard.relay.parameters import ParameterSet, parameter_set, switch
from poolguard.relay.server import Server
from poolguard.relay.statements import Catalogue
from poolguard.wire import messages

ACCEPTED_LIMIT: Final = 2000
"""How many accepted (name, value) pairs are remembered."""

WELCOMES_LIMIT: Final = 256
"""How many welcomes are kept: one for each of the parameters that clients come with, and they choose those."""

_FREE: Final = frozenset(("application_name",))
"""Any value is accepted for these (PostgreSQL replaces what it can't show)."""


class ParameterRefused(ClientViolation):
    """PostgreSQL refused a startup parameter; the code and text are its own."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(
            fields.get("M", "a startup parameter was refused"), detail=fields.get("D", ""), hint=fields.get("H", "")
        )
        self.sqlstate = fields.get("C", "22023")


class _Borrower:
    """A waiter that is awaited: for logins, which are rare enough for a coroutine."""

    def __init__(self, give_back: Callable[[Server], None]) -> None:
        self._granted: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        self._give_back = give_back
        self.reason = Refusal.TIMEOUT

    def granted(self, server: Server, waited: float) -> bool:
        if self._granted.done():
            return False
        self._granted.set_result(server)
        return True

    def refused(self, reason: Refusal, waited: float) -> None:
        self.reason = reason
        if not self._granted.done():
            self._granted.set_exception(TimeoutError())

    def failed(self, error: PoolguardError) -> None:
        if not self._granted.done():
            self._granted.set_exception(error)

    async def wait(self) -> Server:
        try:
            return await asyncio.shield(self._granted)
        except asyncio.CancelledError:
            # Cancelled after granted() said yes: nobody else knows about this server.
            if self._granted.done() and not self._granted.cancelled() and self._granted.exception() is None:
                self._give_back(self._granted.result())
            self._granted.cancel()
            raise


class Welcome(NamedTuple):
    """What a session begins with."""

    wanted: ParameterSet
    status: Mapping[str, str]
    """Its ParameterStatus."""
    reported: bytes
    """The same as messages."""
    escapes: bool
    """Its literals are read with standard_conforming_strings off."""


def forget_statements(lobbies: Iterable["Lobby"]) -> None:
    """Tables, views, types or functions change: pools of one database all see it, and which those are isn't asked."""
    for lobby in lobbies:
        lobby.catalogue.forget()


class Lobby:
    """One pool's, with the pool and its catalogue of statements."""

    def __init__(self, pool: Pool[Server], refuse: Callable[[Pool[Server], Refusal], PoolguardError]) -> None:
        self.pool: Final = pool
        self.catalogue: Final = Catalogue()
        self._greeting: Mapping[str, str] | None = None
        self._welcomes: dict[tuple[tuple[str, str], ...], Welcome] = {}
        """By what clients asked for."""
        self._accepted: dict[tuple[str, str], str] = {}
        """Accepted pairs, and the value that PostgreSQL reports for each (`UTF8` for `utf-8`)."""
        self._refuse = refuse

    @property
    def greeting(self) -> Mapping[str, str] | None:
        """ParameterStatus of the pool's newest server; None before the first."""
        return self._greeting

    @greeting.setter
    def greeting(self, status: Mapping[str, str] | None) -> None:
        if status != self._greeting:
            self._welcomes.clear()
        self._greeting = status

    def known(self, asked: Mapping[str, str]) -> Welcome | None:
        """What a session with the parameters *asked* begins with; None if PostgreSQL must be asked for it."""
        key = tuple(asked.items())
        welcome = self._welcomes.get(key)
        if welcome is None:
            pairs = {(name.lower(), value) for name, value in key}
            if self._greeting is None or any(one not in self._accepted and one[0] not in _FREE for one in pairs):
                return None
            if len(self._welcomes) >= WELCOMES_LIMIT:
                self._welcomes.clear()
            welcome = self._welcomes[key] = self._welcome(pairs, self._greeting)
        return welcome

    async def admit(self, asked: Mapping[str, str], now: Callable[[], float]) -> Welcome:
        """What a session with the parameters *asked* begins with.

        Asks PostgreSQL only for pairs that it hasn't judged before. Raises ParameterRefused with its own code
        (22023, 42704 ...), PoolExhausted (53300) if the pool has no server in time, or why none can be opened.
        """
        welcome = self.known(asked)
        if welcome is not None:
            return welcome
        pairs = {(name.lower(), value) for name, value in asked.items()}
        await self._ask(dict(pairs), now)
        assert self._greeting is not None, "a server was there, so its greeting is known"
        return self._welcome(pairs, self._greeting)

    def _welcome(self, pairs: set[tuple[str, str]], greeting: Mapping[str, str]) -> Welcome:
        usual = {name.lower(): value for name, value in greeting.items()}
        reported = {pair[0]: self._accepted.get(pair, pair[1]) for pair in pairs}
        wanted = {name: value for name, value in reported.items() if usual.get(name) != value}
        status = {name: reported.get(name.lower(), value) for name, value in greeting.items()}
        escapes = status.get("standard_conforming_strings") == "off"
        return Welcome(parameter_set(wanted), status, messages.parameters_reported(status), escapes)

    async def _ask(self, asked: dict[str, str], now: Callable[[], float]) -> None:
        server = await self._borrow(now)
        try:
            wanted = parameter_set(asked)
            sql = switch(server.applied, wanted)
            refused = await server.run(sql) if sql else None
            if refused is not None:
                raise ParameterRefused(refused)
            server.applied = wanted
            if len(self._accepted) > ACCEPTED_LIMIT:
                self._accepted.clear()
                self._welcomes.clear()
            reported = {name.lower(): value for name, value in server.parameters.items()}
            for name, value in asked.items():
                self._accepted[name, value] = reported.get(name, value)
        finally:
            await asyncio.shield(server.clean())

    async def _borrow(self, now: Callable[[], float]) -> Server:
        pool = self.pool
        server = pool.take()
        if server is not None:
            return server
        borrower = _Borrower(lambda late: pool.give_back(late, now()))
        pool.wait(borrower, now())
        try:
            return await borrower.wait()
        except TimeoutError:
            raise self._refuse(pool, borrower.reason) from None
        finally:
            pool.withdraw(borrower)
