"""What clients and operators are told: errors, advice, and the exemption to paste. Pure; no literal of a query."""

from collections.abc import Mapping, Sequence
from typing import Final

from poolguard.core.errors import EndedByOperator, IdleTransactionEnded, OldTransactionEnded, PoolguardError
from poolguard.core.units import format_duration
from poolguard.guard.conditions import IDLE
from poolguard.guard.history import Action, RuleName
from poolguard.guard.incidents import Classification, ClientSees
from poolguard.guard.rules import Rules, Verdict
from poolguard.ledger.facts import Transaction

_MEASURED: Final[Mapping[RuleName | None, str]] = {
    None: "the rule has matched for",
    RuleName.IDLE_IN_TRANSACTION: "idle in transaction for",
    RuleName.TRANSACTION_AGE: "transaction open for",
    RuleName.STATEMENT_AGE: "statement running for",
    RuleName.CHECKOUT_AGE: "server held for",
}

ADVICE: Final[Mapping[Classification, str]] = {
    Classification.LEAK: "A transaction was begun and left: look for the code path that returns, throws or waits for "
    "something else without COMMIT or ROLLBACK; the last fingerprint is where it stood.",
    Classification.FAILED_AND_LEFT: "A statement failed and nobody rolled back: look for an error handler without "
    "ROLLBACK behind the last fingerprint. Nothing was lost that was not lost already.",
    Classification.LONG_STATEMENT: "One statement runs long: look at its plan (EXPLAIN) and at what it waits for "
    "(pg_stat_activity.wait_event), or give such work a pool and a policy of its own.",
    Classification.LONG_TRANSACTION: "Many statements in one transaction: commit in smaller batches, and keep calls "
    "to other services out of it.",
    Classification.PINNED: "Session state keeps the server: end it where it is made (pin tells what it is), or give "
    "such clients a pool of their own.",
    Classification.LEAKS_HOLD_POOL: "Most holders sit idle in a transaction: fix the leak that the oldest holder "
    "shows; a larger pool would only fill later.",
    Classification.PINS_HOLD_POOL: "Most holders are pinned by session state (pin tells by what; sets, by which SET): "
    "take it out of the application, set parameters for the role instead (ALTER ROLE ... SET), or give such clients a "
    "pool in which each of them has a server.",
    Classification.WORK_HOLDS_POOL: "The holders are working: make their statements faster, or raise the pool's size "
    "as far as PostgreSQL has room for it.",
    Classification.LOCKS_HOLD_POOL: "Most holders wait for a lock: ending who has it lets all of them go on; "
    "GET /v1/locks shows the tree, GET /v1/locks?history=true what it was.",
    Classification.SELF_DEADLOCK: "The pool waits for itself: this application holds every server, some in "
    "transactions that stand idle while its other connections wait for one. Whatever needs a second connection inside "
    "of a transaction must use the first, or the pool needs more servers than the application has workers.",
    Classification.DEADLOCK: "These statements lock the same rows in another order: sort what they lock, or do it in "
    "one statement. The cycle names each, the victim first.",
    Classification.FORCED_RELEASE: "Its holder learns of it at once where its poolguard listens, else at its next "
    "renewal, and may act until then: only what checks the token (poolguard.holds) is safe from it. If it was meant to "
    "stand for election no more, stop it, or ask it to step down with a hold-off.",
    Classification.POOL_UNREACHABLE: "Nobody held a server: look whether PostgreSQL can be reached and has connections "
    "left (the pool's last_error says).",
}

_EXEMPT_COMMENT: Final = "poolguard:ignore"


def error_for(verdict: Verdict, incident: str) -> PoolguardError:
    """Build the error that the client gets when *verdict* is carried out: names rule, ages and incident."""
    measure, idle = verdict.of.measure, verdict.transaction.phase in IDLE
    is_about_idleness = measure is RuleName.IDLE_IN_TRANSACTION or (measure is None and idle)
    kind = IdleTransactionEnded if is_about_idleness else OldTransactionEnded
    setting = f"{verdict.of.setting}.{verdict.action.value}"
    return kind(
        f"poolguard {_ended(verdict.action)}: {_MEASURED[measure]} {format_duration(verdict.actual_seconds)}, "
        f"rule {verdict.rule} allows {format_duration(verdict.limit_seconds)} (incident {incident})",
        detail=f"{setting} is {format_duration(verdict.limit_seconds)}; {_ages(verdict.transaction)}. "
        f"{_fate(verdict.transaction)}",
        hint=f"{_way_on(verdict.action)} To allow more time, raise {setting}. To exempt, add the application_name to "
        f"policies.{verdict.policy}.exempt.application_name, or put its exempt.comment into a comment of a statement.",
    )


def error_by_hand(transaction: Transaction, action: Action, incident: str) -> PoolguardError:
    """Build the error that the client gets when an operator ends its transaction."""
    return EndedByOperator(
        f"poolguard {_ended(action)} on an operator's order (incident {incident})",
        detail=f"{_ages(transaction)}. {_fate(transaction)}",
        hint=_way_on(action),
    )


def _ended(action: Action) -> str:
    return "ended this session" if action is Action.TERMINATE else "rolled this transaction back"


def _way_on(action: Action) -> str:
    return "Connect again." if action is Action.TERMINATE else "Send ROLLBACK, then begin again."


def _fate(transaction: Transaction) -> str:
    if transaction.phase in IDLE:
        return "Nothing of the open transaction was committed."
    return "What was running was cancelled: unless it had just ended, nothing of it was committed."


def _ages(transaction: Transaction) -> str:
    number = transaction.statements
    return (
        f"transaction {transaction.id} of pool {transaction.pool}: {transaction.phase.value} for "
        f"{format_duration(transaction.phase_seconds)}, open for {format_duration(transaction.transaction_seconds)}, "
        f"server held for {format_duration(transaction.checkout_seconds)}, {number} statement{'s' * (number != 1)}"
    )


def client_sees(action: Action, error: PoolguardError) -> ClientSees | None:
    """Say what reaches the client when *action* is done; None: nothing."""
    match action:
        case Action.CANCEL:
            return ClientSees(sqlstate="57014", severity="ERROR", when="at once, from PostgreSQL")
        case Action.ROLLBACK:
            return ClientSees(sqlstate=error.sqlstate, severity="ERROR", when="at its next message")
        case Action.TERMINATE:
            return ClientSees(sqlstate=error.sqlstate, severity="FATAL", when="at once, then it is disconnected")
    return None


def exemption_for(transaction: Transaction, rules: Rules, *, section: Sequence[str] = ()) -> str:
    """Write the YAML that makes the policy leave such transactions alone; what it exempts now is kept.

    *section*: where its `exempt` stands, if that is not the policy of its name.
    A client without an application_name is exempted by the comment: an empty glob would exempt all such clients.
    """
    exempt = rules.exempt.settings
    globs = list(exempt.application_name)
    if transaction.application_name:
        globs.append(_glob_of(transaction.application_name))
    above = [*(section or ("policies", rules.policy)), "exempt"]
    indent = "  " * len(above)
    lines = [
        *(f"{'  ' * depth}{key}:" for depth, key in enumerate(above)),
        f"{indent}application_name: [{', '.join(map(_quoted, globs))}]",
        f"{indent}comment: {_quoted(exempt.comment or _EXEMPT_COMMENT)}  # or put this in a comment of a statement",
    ]
    return "\n".join(lines) + "\n"


def _glob_of(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar (YAML 1.2, 7.3.1)."""
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if "\ud800" <= char <= "\udfff":
        return "?"  # half a character can't be written in YAML; as a glob this matches any one
    return char if char.isprintable() else f"\\U{ord(char):08x}"
