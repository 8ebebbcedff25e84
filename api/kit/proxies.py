"""Whose request it is: the peer's address, or what a trusted proxy says it forwards."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_Address = IPv4Address | IPv6Address


class TrustedProxies:
    """Networks whose X-Forwarded-For is believed.

    Args:
        networks: addresses or networks.

    Raises:
        ValueError: one of them is neither.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(ip_network(network, strict=False) for network in networks)

    def client_address(self, peer: str | None, forwarded_for: str | None) -> str | None:
        """The address nearest to the client that a chain of trusted proxies vouches for.

        The list is read from its end, because each proxy appends the address it saw; everything
        before the first untrusted one may be made up.
        """
        if peer is None or not forwarded_for or not self._trusts(_parse(peer)):
            return peer
        address = peer
        for entry in reversed(forwarded_for.split(",")):
            candidate = _parse(entry.strip())
            if candidate is None:
                break
            address = str(candidate)
            if not self._trusts(candidate):
                break
        return address

    def _trusts(self, address: _Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _parse(text: str) -> _Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
