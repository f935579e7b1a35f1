r"""libpq's password file (~/.pgpass): lines `host:port:database:user:password`, where `*` fits all. Pure.

PostgreSQL docs, 34.16 (The Password File).
"""

import re
from dataclasses import dataclass, field
from typing import Final, Self

_FIELD: Final = r"((?:\\.|[^:\\]|\\$)*)"
_LINE: Final = re.compile(":".join([_FIELD] * 5) + r"(?::.*)?")


@dataclass(frozen=True, slots=True)
class PassEntry:
    """One line of the file; None fits everything."""

    host: str | None
    port: str | None
    database: str | None
    user: str | None
    password: str = field(repr=False)

    @classmethod
    def parse(cls, line: str) -> Self | None:
        r"""Read a line; None for comments and for what has not five fields, which libpq skips, too.

        `\` keeps the character behind it; what follows a fifth colon is ignored.
        """
        match = None if line.startswith("#") else _LINE.fullmatch(line)
        if match is None:
            return None
        *places, password = match.groups()
        host, port, database, user = (None if part == "*" else _unescape(part) for part in places)
        return cls(host, port, database, user, _unescape(password))

    def fits(self, *, host: str, port: int, database: str, user: str) -> bool:
        """Tell whether this line is for that login."""
        mine = (self.host, self.port, self.database, self.user)
        theirs = (host, str(port), database, user)
        return all(wanted is None or wanted == given for wanted, given in zip(mine, theirs, strict=True))


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def parse_passfile(text: str) -> tuple[PassEntry, ...]:
    """Read the whole file, in its order."""
    return tuple(entry for line in text.splitlines() if (entry := PassEntry.parse(line)) is not None)


def find_password(entries: tuple[PassEntry, ...], *, host: str, port: int, database: str, user: str) -> str | None:
    """Give the password of the first line that fits, unless it is empty."""
    for entry in entries:
        if entry.fits(host=host, port=port, database=database, user=user):
            return entry.password or None
    return None
