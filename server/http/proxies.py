"""The balancers before a server, and the client behind them. No I/O.

Tornado's `xheaders` takes the header `X-Forwarded-For` of everybody who connects, and `X-Real-Ip` before it;
so a client could choose its address.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_NONE = "none"
_LONGEST = 4096  # characters of a header that are looked at, from its end
# As some balancers write it. An address of IPv6 without brackets has no port.
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
_MAPPED = IPv6Network("::ffff:0:0/96")
_SITE = 64  # bits of an address of IPv6 that a client's provider gives: it chooses the others


class Proxies(frozenset[IPv4Network | IPv6Network]):
    """Addresses and networks, with commas between as text."""

    def __str__(self) -> str:
        return ",".join(sorted(map(str, self))) or _NONE

    @classmethod
    def parse(cls, text: str) -> "Proxies":
        """Addresses and networks with commas between, or `none`. Raises ValueError."""
        try:
            return cls([] if text == _NONE else [_network(part.strip()) for part in text.split(",")])
        except ValueError:
            expected = "expected addresses and networks such as 10.0.0.5,10.1.0.0/16, or none"
            raise ValueError(f"{text!r} is not allowed, {expected}") from None

    def trust(self, address: str) -> bool:
        """True for the address of a balancer."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """The address of a client.

        Args:
            peer: of who has connected.
            forwarded: the values of `X-Forwarded-For`: each balancer has added whom it has got the request from, with
                or without the port.
        """
        found = peer
        for address in reversed(",".join(forwarded)[-_LONGEST:].split(",") if forwarded else []):
            if not self.trust(found):
                break
            address = address.strip()
            if not address:
                continue  # a list may have empty elements, RFC 9110, 5.6.1
            if match := _WITH_PORT.fullmatch(address):
                address = match[1] or match[2]
            try:
                found = str(ip_address(address))
            except ValueError:
                break  # nothing that a balancer has written
        return found


def _network(text: str) -> IPv4Network | IPv6Network:
    """Raises ValueError."""
    found = ip_network(text)
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        mapped = found.network_address.ipv4_mapped
        assert mapped is not None
        return IPv4Network((mapped, found.prefixlen - 96))
    return found


def site(address: str) -> str:
    """Whose address it is: of IPv6, a client has many."""
    if ":" not in address:
        return address
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((found, _SITE), strict=False))
    return address
