"""The PROXY protocol: a balancer that passes bytes on says whose they are before them.

https://github.com/haproxy/haproxy/blob/master/doc/proxy-protocol.txt, versions 1 and 2.
"""

import asyncio
import socket
import struct

from proxyprotocol import ProxyProtocolIncompleteError
from proxyprotocol.detect import ProxyProtocolDetect

_LONGEST_LINE = 107  # bytes of a header of version 1
_PROTOCOL = ProxyProtocolDetect()

Address = tuple[str, int]


class ProxyProtocolError(Exception):
    """A balancer has sent no such header."""


class Introduction:
    """What a balancer says of a connection's client.

    Nothing behind it is read: that may be TLS. Created on a running loop.

    Args:
        connection: has been accepted, and does not block; nothing of it was read. It is whose the introduction is until
            the end of that.

    Attributes:
        connection: as given.
        end: awaits the client's address; None where the balancer speaks for itself, as it does to look after a server.
            Fails with ProxyProtocolError, or OSError where the connection ends.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.end = asyncio.create_task(_read(connection), name="introduction")

    def closed(self) -> bool:
        """It has come, or never will."""
        return self.end.done()

    def close(self) -> None:
        """Close the connection, at once, as its descriptor may be wanted for another one; `end` is cancelled."""
        if self.connection.fileno() >= 0:
            # Otherwise the one that gets the descriptor would lose its reader when `end` does.
            asyncio.get_running_loop().remove_reader(self.connection)
            self.connection.close()
            self.end.cancel()


async def _read(connection: socket.socket) -> Address | None:
    loop = asyncio.get_running_loop()
    header = b""
    while True:
        try:
            found = _PROTOCOL.unpack(header)
        except ProxyProtocolIncompleteError as error:
            # Where a line ends is not known before: of the bytes behind it, none may be read.
            missing = error.want_read.want_bytes or 1
            if error.want_read.want_line and len(header) >= _LONGEST_LINE:
                raise ProxyProtocolError("a line that is too long") from None
        except (ValueError, struct.error) as error:
            raise ProxyProtocolError("no PROXY header") from error
        else:
            client = found.peername
            return (str(client[0]), int(client[1])) if isinstance(client, tuple) else None
        received = await loop.sock_recv(connection, missing)
        if not received:
            raise ProxyProtocolError("the connection ended within the header")
        header += received
