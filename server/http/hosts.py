"""The names by which clients may ask a server. No I/O.

A page of an attacker's site whose name resolves to 127.0.0.1 by now (DNS rebinding) is of the same origin as a server
there: the browser sends its requests, and lets it read the answers. What shows it is the name, in the header `Host`.
"""

import re
from ipaddress import ip_address

_LOCAL, _ANY, _NONE = "local", "any", "none"
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]*)(?::[0-9]*)?")


class Hosts(frozenset[str]):
    """Names with commas between as text, `any` for all, `local` for none but those that cannot be a stranger's."""

    def __str__(self) -> str:
        return ",".join(sorted(self)) or _LOCAL

    @classmethod
    def parse(cls, text: str) -> "Hosts":
        """Names with commas between, `any`, or `local`. Raises ValueError."""
        names = [] if text == _LOCAL else [name.strip().lower() for name in text.split(",")]
        if not all(map(_NAME.fullmatch, names)) or _NONE in names:
            raise ValueError(f"{text!r} is not allowed, expected names with commas between, any, or local")
        return cls(names)

    def accept(self, host: str | None) -> bool:
        """True for a header `Host` that has one of the names, an address, or a name without a dot.

        For None as well: browsers send the header.
        """
        if host is None or _ANY in self:
            return True
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower()
        return name in self or "." not in name.strip("[]") or _is_address(name.strip("[]"))


ANY = Hosts({_ANY})


def is_loopback(address: str) -> bool:
    """True for an address, or `localhost`, at which only this host's programs reach a server."""
    try:
        found = ip_address(address)
    except ValueError:
        return address == "localhost"
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
