"""Which addresses a webhook may be sent to. No I/O."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS = frozenset({443, 8443})
"""That are allowed everywhere."""
_HTTP = 80

# Of the global ones, as some versions of `ipaddress` have them, what leads to somewhere else, or nowhere.
_UNICAST = ip_network("2000::/3")  # no other IPv6 address is of the internet: not NAT64's, not site-local ones
_SPECIAL = [
    ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # relays of 6to4
        "64:ff9b::/96",  # NAT64, which leads to any IPv4 address
        "64:ff9b:1::/48",
        "fec0::/10",  # site-local
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
    )
]


def is_public(address: Address) -> bool:
    """True for an address of the internet, also behind an IPv6 form of an IPv4 address."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
        if address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _SPECIAL)


@dataclass(frozen=True)
class Entry:
    """What an operator allows besides.

    Attributes:
        http: without TLS.
        host: a name, which may have any address; None where there is a network.
        network: of addresses, whatever their names; None where there is a name.
        ports: of these.
    """

    http: bool
    host: str | None
    network: Network | None
    ports: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> "Entry":
        """A name, an address or a network, `http://` before and `:port` behind it, or not. Raises ValueError."""
        bare = text.removeprefix("http://")
        http = bare != text
        ports = frozenset({_HTTP}) if http else PORTS
        place, colon, port = bare.rpartition(":")
        if colon and port.isascii() and port.isdigit() and (":" not in place or place.endswith("]")):
            ports, bare = frozenset({int(port)}), place
        if not all(1 <= each <= 65535 for each in ports):
            raise ValueError("a port is from 1 to 65535")
        bare = bare.strip("[]")
        try:
            return cls(http, None, ip_network(bare), ports)
        except ValueError:
            if not is_name(bare):
                raise ValueError("no name, address or network") from None
        return cls(http, bare.lower(), None, ports)

    def is_of(self, host: str) -> bool:
        """True when it is about a host, a name or the text of an address."""
        if self.network is None:
            return host == self.host
        address = parse_address(host)
        return address is not None and address in self.network


@dataclass(frozen=True)
class AllowList:
    """The entries of an operator; without any, only addresses of the internet are allowed."""

    entries: tuple[Entry, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "AllowList":
        """Entries, separated by commas. Raises ValueError with the text and what is expected."""
        try:
            return cls(tuple(Entry.parse(each.strip()) for each in text.split(",")))
        except ValueError:
            expected = "names, addresses or networks such as 10.0.0.0/8,hooks.internal:9000,http://127.0.0.1:8080"
            raise ValueError(f"{text!r} is not allowed, expected {expected}") from None

    def permits(self, host: str, address: Address, port: int) -> bool:
        """May a webhook of this host be sent to this address that it has?"""
        if port in PORTS and is_public(address):
            return True
        return any(
            port in entry.ports and (entry.host == host if entry.network is None else address in entry.network)
            for entry in self.entries
        )

    def names(self, host: str) -> bool:
        """Is there an entry with the name of this host?"""
        return any(entry.host == host for entry in self.entries)

    def permits_port(self, host: str, port: int) -> bool:
        """Is there an address that this host could have, and that it would be permitted with?"""
        return port in PORTS or any(
            port in entry.ports and (entry.host in (None, host)) for entry in self.entries
        )

    def permits_http(self, host: str, port: int) -> bool:
        """May a webhook of this host be sent without TLS?"""
        return any(entry.http and port in entry.ports and entry.is_of(host) for entry in self.entries)


def parse_address(host: str) -> Address | None:
    """The address that a host of a URL is, without brackets; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_name(host: str) -> bool:
    """True for what may be a name in the DNS, in its ASCII form."""
    labels = host.removesuffix(".").split(".")
    return host.isascii() and len(host) <= 253 and all(
        0 < len(label) <= 63 and label.replace("-", "").replace("_", "").isalnum() for label in labels
    )
