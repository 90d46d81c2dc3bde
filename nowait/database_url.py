"""What a database URL means, for everything that reads one; no driver is imported."""

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

_FORM = "mysql://user:password@host:port/name"


@dataclass(frozen=True)
class DatabaseUrl:
    """`mysql://user:password@host:port/name`, with `?tls=1` behind it for TLS.

    Attributes:
        host: a name or an address.
        port: 3306 where the URL has none.
        user, password, name: "" where the URL has no user or password.
        tls: the database has to show a certificate that is good for `host`.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    name: str
    tls: bool

    @classmethod
    def parse(cls, text: str) -> "DatabaseUrl":
        """Read a URL. Raises ValueError with what is expected; its text repeats nothing behind the scheme."""
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, 3306 if parts.port is None else parts.port
        except ValueError:  # a port that is no number, a broken IPv6 address
            host, port = None, 0
        if not host or not port or parts.scheme != "mysql":
            raise ValueError(f"'{text.partition('://')[0][:20]}://…' is not allowed, expected {_FORM}")
        if parts.query not in ("", "tls=1"):
            raise ValueError(f"'mysql://…?…' has other parameters than tls=1, expected {_FORM}?tls=1 or none")
        name = unquote(parts.path.strip("/"))
        if not name:
            raise ValueError(f"'mysql://…' names no database, expected {_FORM}")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(host, port, user, password, name, parts.query == "tls=1")

    def options(self) -> dict[str, Any]:
        """The arguments of PyMySQL's connect(); with TLS, its context trusts this machine's CAs, or SSL_CERT_FILE's."""
        # One context for all connections that are made of them: another one is 40 ms of CPU.
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": self.name,
            "ssl": ssl.create_default_context() if self.tls else None,
        }
