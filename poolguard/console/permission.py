"""Who may end transactions from the console. Pure.

The same as over HTTP: whoever has the admin token, where one is set. HTTP without a token is for those who reach its
listener, which is loopback; the console is on the clients' listener, which may be open to the network. So without a
token it is for clients on this machine.
"""

from typing import Final

from poolguard.core.errors import NotAllowed
from poolguard.core.loopback import is_loopback
from poolguard.core.secret import same
from poolguard.relay.bound import ADMIN_PARAMETER
from poolguard.wire.startup import Startup

_HOW: Final = f"Connect with options='-c {ADMIN_PARAMETER}=TOKEN' (PGOPTIONS), with auth.admin_token of the settings."


def check(asked: Startup, address: str, admin_token: str) -> None:
    """Return if the client may; an empty *admin_token* means that none is set. Raises NotAllowed (42501)."""
    if not admin_token:
        if not is_local(address):
            raise NotAllowed(
                "KILL from another machine needs the admin token, and none is set", hint="Set auth.admin_token."
            )
        return
    given = token_of(asked)
    if not given:
        raise NotAllowed("KILL needs the admin token", hint=_HOW)
    if not same(given, admin_token):
        raise NotAllowed("this is not the admin token", hint=_HOW)


def token_of(asked: Startup) -> str:
    """The token that the client sent; empty for none."""
    given = {name.lower(): value for name, value in (*asked.options, *asked.parameters)}
    return given.get(ADMIN_PARAMETER, "").strip()


def is_local(address: str) -> bool:
    """Whether *address* (`127.0.0.1:40312`, `unix`) is of this machine."""
    return address == "unix" or is_loopback(address.rpartition(":")[0])
