"""One place where PostgreSQL may be, what it must be to be taken, and how soon a dead network is noticed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

DEFAULT_PORT: Final = 5432


class SessionAttrs(StrEnum):
    """libpq's `target_session_attrs`: what a server must be, to be taken."""

    ANY = "any"
    READ_WRITE = "read-write"
    READ_ONLY = "read-only"
    PRIMARY = "primary"
    STANDBY = "standby"

    def accepts(self, parameters: Mapping[str, str]) -> bool:
        """Judge a server by the parameters that it reported (in_hot_standby: since PostgreSQL 14)."""
        standby = parameters.get("in_hot_standby") == "on"
        read_only = standby or parameters.get("default_transaction_read_only") == "on"
        match self:
            case SessionAttrs.ANY:
                return True
            case SessionAttrs.READ_WRITE:
                return "in_hot_standby" in parameters and not read_only
            case SessionAttrs.READ_ONLY:
                return read_only
            case SessionAttrs.PRIMARY:
                return "in_hot_standby" in parameters and not standby
            case SessionAttrs.STANDBY:
                return standby


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """How soon a dead network is noticed. 0 leaves a value to the system."""

    enabled: bool = True
    idle_seconds: int = 30
    interval_seconds: int = 10
    count: int = 3
    user_timeout_ms: int = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One place to try. *host* is a name, an address, or the folder of a Unix socket (`/...`, `@...`: abstract)."""

    host: str
    hostaddr: str = ""
    """Dialed instead of *host*, which then is only what a certificate is checked against."""
    port: int = DEFAULT_PORT
    password: str | None = field(default=None, repr=False)

    @property
    def is_unix(self) -> bool:
        """True for a Unix socket, on which there is never TLS."""
        return not self.hostaddr and self.host.startswith(("/", "@"))

    @property
    def socket_path(self) -> str:
        """The socket's file; an abstract one begins with a zero byte."""
        path = f"{self.host}/.s.PGSQL.{self.port}"
        return "\0" + path[1:] if path.startswith("@") else path

    def __str__(self) -> str:
        if self.is_unix:
            return f"{self.host}/.s.PGSQL.{self.port}"
        host = self.host or self.hostaddr
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
