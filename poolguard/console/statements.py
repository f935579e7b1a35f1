"""What may be said to the console, and what it means. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from poolguard.core.errors import ClientViolation
from poolguard.core.ids import TransactionId
from poolguard.guard.history import Action

MOST_TEXT: Final = 2048
"""Characters. All of them are read at once, and sessions must not wait for that."""

HINT: Final = "SHOW HELP lists what there is."


class NotUnderstood(ClientViolation):
    """The console does not know this statement (42601)."""

    sqlstate = "42601"
    code = "not_understood"

    def __init__(self, message: str) -> None:
        super().__init__(message, hint=HINT)


class Topic(StrEnum):
    """What can be shown."""

    HELP = "help"
    POOLS = "pools"
    SESSIONS = "sessions"
    TRANSACTIONS = "transactions"
    LOCKS = "locks"
    INCIDENTS = "incidents"
    LEASES = "leases"
    SETTINGS = "settings"
    VERSION = "version"


@dataclass(frozen=True, slots=True)
class Show:
    """SHOW TOPIC."""

    topic: Topic


@dataclass(frozen=True, slots=True)
class Kill:
    """KILL 'ID' CANCEL | ROLLBACK | TERMINATE."""

    transaction: TransactionId
    action: Action


@dataclass(frozen=True, slots=True)
class Nothing:
    """A statement that drivers send around others: it is answered with *tag* and changes nothing."""

    tag: str
    block: bool | None = None
    """The client believes itself in a transaction block from now on, or not; None: as before."""


@dataclass(frozen=True, slots=True)
class Forget:
    """DEALLOCATE: a prepared statement is dropped; all of them for None."""

    name: str | None
    tag: str


Command = Show | Kill | Nothing | Forget


class _Token(NamedTuple):
    kind: str
    text: str


_TOKENS: Final = re.compile(
    r"""
      (?P<space>\s+ | --[^\n]* | /\*.*?(?:\*/|\Z))
    | (?P<word>[A-Za-z_]\w*)
    | '(?P<literal>[^']*)'
    | "(?P<quoted>[^"]*)"
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
"""A comment or a quote without an end takes the rest: no text is read twice."""

_NOTHING: Final = {
    "begin": Nothing("BEGIN", block=True),
    "start": Nothing("START TRANSACTION", block=True),
    "commit": Nothing("COMMIT", block=False),
    "end": Nothing("COMMIT", block=False),
    "rollback": Nothing("ROLLBACK", block=False),
    "abort": Nothing("ROLLBACK", block=False),
    "savepoint": Nothing("SAVEPOINT"),
    "release": Nothing("RELEASE"),
    "set": Nothing("SET"),
    "reset": Nothing("RESET"),
}
_ACTIONS: Final = {action.value: action for action in (Action.CANCEL, Action.ROLLBACK, Action.TERMINATE)}
_TOPICS: Final = {topic.value: topic for topic in Topic}


def read(sql: str) -> list[Command]:
    """What the statements of *sql* mean, in order; none for an empty text. Raises NotUnderstood (42601).

    Nothing of *sql* is repeated in the error: it may be a secret that was pasted into the wrong window.
    """
    if len(sql) > MOST_TEXT:
        raise NotUnderstood(f"more than {MOST_TEXT} characters: the console's statements are shorter")
    return [_command(tokens) for tokens in _statements(sql) if tokens]


def _statements(sql: str) -> list[list[_Token]]:
    found: list[list[_Token]] = [[]]
    for match in _TOKENS.finditer(sql):
        kind = match.lastgroup or ""
        if kind == "end":
            found.append([])
        elif kind != "space":
            text = match[kind]
            found[-1].append(_Token(kind, text.lower() if kind == "word" else text))
    return found


def _command(tokens: Sequence[_Token]) -> Command:
    kinds = [token.kind for token in tokens]
    texts = [token.text for token in tokens]
    first = texts[0] if kinds[0] == "word" else ""
    if first == "show":
        if kinds != ["word", "word"] or texts[1] not in _TOPICS:
            raise NotUnderstood(f"SHOW takes one of: {', '.join(topic.upper() for topic in _TOPICS)}")
        return Show(_TOPICS[texts[1]])
    if first == "kill":
        return _kill(kinds, texts)
    if first == "rollback" and "to" in texts[1:3]:
        return Nothing("ROLLBACK")  # to a savepoint: the block goes on
    if first in ("deallocate", "discard"):
        return _forget(first, tokens)
    if first in _NOTHING:
        return _NOTHING[first]
    raise NotUnderstood("this is poolguard's console: it runs no SQL")


def _kill(kinds: Sequence[str], texts: Sequence[str]) -> Kill:
    if kinds != ["word", "literal", "word"] or texts[2] not in _ACTIONS:
        raise NotUnderstood(
            "KILL is written KILL 'ID' CANCEL, ROLLBACK or TERMINATE, with an id as in KILL '12-3' CANCEL"
        )
    try:
        return Kill(TransactionId.parse(texts[1]), _ACTIONS[texts[2]])
    except ValueError:
        raise NotUnderstood("KILL takes an id as SHOW TRANSACTIONS has it, such as '12-3'") from None


def _forget(first: str, tokens: Sequence[_Token]) -> Command:
    words = [token for token in tokens[1:] if token != _Token("word", "prepare")]
    if words == [_Token("word", "all")]:
        return Forget(None, "DISCARD ALL" if first == "discard" else "DEALLOCATE ALL")
    if first == "deallocate" and len(words) == 1 and words[0].kind in ("word", "quoted"):
        return Forget(words[0].text, "DEALLOCATE")
    raise NotUnderstood(f"{first.upper()} is understood only with {'ALL' if first == 'discard' else 'a name or ALL'}")
