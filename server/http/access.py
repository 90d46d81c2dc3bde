"""What a client needs for a route."""

from dataclasses import dataclass

from server.keys.scopes import ADMIN, AREAS, READ, WRITE

READING = ("GET", "HEAD")
"""The methods that change nothing."""


@dataclass(frozen=True)
class Access:
    """A scope of some area.

    Attributes:
        area: of `server.keys.scopes`; None for a route that needs no key.
        named: the first part of the path that differs is the name of what is asked for. Otherwise a scope for any name
            will do, and the handler looks at the names that it finds elsewhere, by `BaseHandler.require`.
        known: a client that shows a key is known by it, though it needs none.
    """

    area: str | None
    named: bool = False
    known: bool = False

    def action(self, method: str) -> str:
        """What a method does in the area."""
        return action_in(self.area or ADMIN, method)


OPEN = Access(None)
KNOWN = Access(None, known=True)


def action_in(area: str, method: str) -> str:
    """READ or WRITE; "" in an area that has no such difference."""
    return "" if not AREAS[area] else READ if method in READING else WRITE
