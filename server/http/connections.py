"""How many connections clients may have, and which one is given up for another. No I/O: the clock is an argument."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

_GRACE = 1.0  # seconds that a connection may wait for a request before it may be given up for another one
_FIRST = 10.0  # seconds in which a new connection has to have sent the headers of its first request


class Closable(Protocol):
    """A connection."""

    def closed(self) -> bool:
        """It is not open any more."""


C = TypeVar("C", bound=Closable)


class Connections(Generic[C]):
    """The connections of one process.

    One that waits for a request, or for the rest of one, can be given up: its client has nothing to lose that it could
    not send again. The one that has waited longest is, so that who holds connections without using them keeps nobody
    out.

    Args:
        most: how many may be open at once, 1 or more.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: set[C] = set()
        self._quiet: set[C] = set()  # those of them by which no more requests come: WebSockets
        # When they began to: in this order.
        self._waiting: OrderedDict[C, float] = OrderedDict()
        self._new: OrderedDict[C, float] = OrderedDict()
        self._under_way: set[C] = set()

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Connections {len(self)} of {self.most}, {len(self._waiting)} wait for requests>"

    @property
    def full(self) -> bool:
        """There may be no further one."""
        if len(self._open) >= self.most:
            self._drop_closed()
        return len(self._open) >= self.most

    def opened(self, connection: C, now: float) -> None:
        """There is a further one."""
        self._open.add(connection)
        self._waiting[connection] = self._new[connection] = now

    def waits(self, connection: C, now: float) -> None:
        """It waits for the next request; a new one does since it was opened."""
        self._under_way.discard(connection)
        if connection in self._open and connection not in self._new:
            self._waiting[connection] = now

    def began(self, connection: C) -> None:
        """The headers of a request have come."""
        self._new.pop(connection, None)

    def got(self, connection: C) -> None:
        """All of a request has come."""
        self._waiting.pop(connection, None)
        if connection in self._open:
            self._under_way.add(connection)

    def ended(self, connection: C) -> None:
        """No more requests come by it. It counts until it is closed."""
        self._forget_request(connection)
        if connection.closed():
            self._open.discard(connection)
        elif connection in self._open:
            self._quiet.add(connection)

    def give_up(self, now: float) -> C | None:
        """The one that has waited longest: it is to be closed, and counts no more. None where none has for a while."""
        for connection, since in self._waiting.items():
            if now - since < _GRACE:
                return None
            self._forget(connection)
            return connection
        return None

    def overdue(self, now: float) -> Iterator[C]:
        """Those without a request since they were opened, for too long: to be closed; they count no more."""
        self._drop_closed()
        while self._new:
            connection, since = next(iter(self._new.items()))
            if now - since < _FIRST:
                return
            self._forget(connection)
            yield connection

    def under_way(self) -> list[C]:
        """Those by which a request has come that was not answered yet."""
        return [*self._under_way]

    def _drop_closed(self) -> None:
        closed = {each for each in self._quiet if each.closed()}
        self._open -= closed
        self._quiet -= closed

    def _forget(self, connection: C) -> None:
        self._open.discard(connection)
        self._forget_request(connection)

    def _forget_request(self, connection: C) -> None:
        self._new.pop(connection, None)
        self._waiting.pop(connection, None)
        self._under_way.discard(connection)
