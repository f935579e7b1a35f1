"""Which addresses only this machine can reach."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether *host*, a name or an address (IPv6 also in brackets), is this machine's own, for nobody else to reach.

    Of names only localhost is believed: what another one means depends on who is asked.
    """
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
