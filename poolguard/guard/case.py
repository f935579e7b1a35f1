"""One transaction with all that a rule may ask about it. Pure."""

from poolguard.guard.incidents import PoolState
from poolguard.guard.traits import Traits, read_traits
from poolguard.ledger.facts import Transaction


class Case:
    """Facts of a transaction and its pool; its statements are read when they are first asked for."""

    __slots__ = ("_traits", "pool", "transaction")

    def __init__(self, transaction: Transaction, pool: PoolState | None = None, traits: Traits | None = None) -> None:
        self.transaction = transaction
        self.pool = pool
        """None: not known; no key that asks for it holds."""
        self._traits = traits

    @property
    def has_traits(self) -> bool:
        """Whether the statements have been read."""
        return self._traits is not None

    @property
    def traits(self) -> Traits:
        """What its statements say."""
        if self._traits is None:
            self._traits = read_traits(self.transaction)
        return self._traits
