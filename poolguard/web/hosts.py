"""Which names in a Host header mean this poolguard. Pure.

A page that somebody visits can make their browser send requests here under a name of its owner's choosing (DNS
rebinding), and it may then read the answers. What it can't do is choose a name that no public DNS server may answer
for, or an address: so those are safe, and no list is needed where poolguard runs as a Kubernetes Service.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from poolguard.core.errors import ClientViolation
from poolguard.core.loopback import is_loopback

LOOPBACK_NAMES: Final = frozenset({"localhost", "ip6-localhost"})

PRIVATE_SUFFIXES: Final = (".localhost", ".svc", ".cluster.local", ".internal")
"""RFC 6761 (localhost), ICANN's reservation of 2024 (internal), and what Kubernetes gives to Services."""

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::[0-9]{1,5})?")


class WrongHost(ClientViolation):
    """The request is for a name that is not ours (RFC 9110, 15.5.20)."""

    http_status = 421
    code = "wrong_host"


@dataclass(frozen=True, slots=True)
class OwnNames:
    """The names under which a listener may be called."""

    listen_host: str
    """As in the settings: a name, an address, or a wildcard address such as 0.0.0.0."""
    extra: frozenset[str] = frozenset()
    """More names, such as the machine's."""

    def mean_us(self, host: str) -> bool:
        """Whether the Host header *host* is ours.

        Its port is not compared: a forwarded port differs from the one that is listened on, and a rebinding page
        could choose it anyhow.
        """
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].strip("[]").rstrip(".").lower()
        own = {self.listen_host.lower(), *(extra.lower() for extra in self.extra)}
        if name in own or name in LOOPBACK_NAMES or name.endswith(".localhost") or _is_address(name):
            return True
        exposed = not is_loopback(self.listen_host) and self.listen_host.lower() not in LOOPBACK_NAMES
        return exposed and ("." not in name or name.endswith(PRIVATE_SUFFIXES))


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
