"""Whom the guard leaves alone, and which work it never ends, whatever rule matches. Pure.

An exempt transaction gets no verdict at all. Protected work may be warned of, and is never ended: a half-built index,
a migration or a dump costs more than the wait for it. A rule that names a class of work has said that it may be ended;
`checkout_age`, which is there for stalled COPY, has said so of COPY.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from poolguard.guard.case import Case
from poolguard.guard.conditions import IDLE, globs_to_pattern
from poolguard.guard.history import RuleName
from poolguard.guard.traits import IDLE_TIMEOUT, STATEMENT_TIMEOUT, TRANSACTION_TIMEOUT, statements_of
from poolguard.ledger.entries import Phase
from poolguard.settings.policies import Exempt
from poolguard.wire.classes import StatementClass
from poolguard.wire.fingerprint import has_marker


class Spared(StrEnum):
    """Why something that was due is not done. A label of metrics."""

    APPLICATION_NAME = "application_name"
    USER = "user"
    COMMENT = "comment"
    STATEMENT_CLASS = "statement_class"
    ZERO_TIMEOUT = "zero_timeout"
    JOB_POP = "job_pop"


_EITHER_TIMEOUT: Final = frozenset({STATEMENT_TIMEOUT, IDLE_TIMEOUT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemptions:
    """One `exempt` of the settings, ready to ask."""

    settings: Exempt
    applications: re.Pattern[str] | None
    users: re.Pattern[str] | None
    classes: frozenset[StatementClass]

    def whom(self, case: Case) -> Spared | None:
        """Why the transaction is left alone altogether; None: it is not."""
        transaction, marker = case.transaction, self.settings.comment
        if self.applications is not None and self.applications.match(transaction.application_name):
            return Spared.APPLICATION_NAME
        if self.users is not None and self.users.match(transaction.user):
            return Spared.USER
        if marker and any(has_marker(sql, marker) for sql in statements_of(transaction)):
            return Spared.COMMENT
        return None

    def what(self, case: Case, measure: RuleName | None, claims: frozenset[StatementClass]) -> Spared | None:
        """Why its work is not ended by a rule of that *measure* which names the classes *claims*; None: it may be."""
        transaction, traits = case.transaction, case.traits
        if transaction.phase is Phase.PINNED:
            return None  # it does nothing, and no transaction is open
        work = traits.classes & {StatementClass.DDL}
        if transaction.phase is Phase.ACTIVE:
            work |= traits.latest
        if measure is RuleName.CHECKOUT_AGE:
            work -= {StatementClass.COPY}
        if work & self.classes - claims:
            return Spared.STATEMENT_CLASS
        if self.settings.zero_timeouts and _has_lifted(traits.lifted, measure, transaction.phase):
            return Spared.ZERO_TIMEOUT
        pops = StatementClass.JOB_POP in traits.classes - claims
        if pops and transaction.transaction_seconds < self.settings.job_pop:
            return Spared.JOB_POP
        return None


def compile_exempt(exempt: Exempt) -> Exemptions:
    """Make *exempt* ready."""
    return Exemptions(
        settings=exempt,
        applications=globs_to_pattern(exempt.application_name) if exempt.application_name else None,
        users=globs_to_pattern(exempt.user) if exempt.user else None,
        classes=frozenset(StatementClass(kind.value) for kind in exempt.statement_class),
    )


def _has_lifted(lifted: frozenset[str], measure: RuleName | None, phase: Phase) -> bool:
    """Whether the client has lifted PostgreSQL's own timeout for what the rule is about."""
    if not lifted:
        return False
    if measure in {RuleName.TRANSACTION_AGE, RuleName.CHECKOUT_AGE}:
        # Before PostgreSQL 17 there was no transaction_timeout to lift.
        return TRANSACTION_TIMEOUT in lifted or lifted >= _EITHER_TIMEOUT
    return (IDLE_TIMEOUT if phase in IDLE else STATEMENT_TIMEOUT) in lifted
