"""What a key may be used for. No I/O.

A scope is `AREA`, `AREA.read` or `AREA.write`, with `:NAME` behind it for one name, or `:PREFIX*` for all that begin
with that.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

READ, WRITE = "read", "write"
ADMIN = "admin"
# By area, the actions that a scope may be narrowed to: to run a query is one, by whatever method.
AREAS: dict[str, tuple[str, ...]] = {
    "queries": (),
    "jobs": (READ, WRITE),
    "schedules": (READ, WRITE),
    "topics": (READ, WRITE),
    "queues": (READ, WRITE),
    ADMIN: (),
}
NAME = re.compile("[A-Za-z0-9_.-]{1,100}")
_FORM = re.compile(rf"([a-z]+)(?:\.([a-z]+))?(?::({NAME.pattern})(\*)?|:(\*))?")


@dataclass(frozen=True, order=True)
class Scope:
    """One of a key's.

    Attributes:
        area: one of AREAS.
        action: READ or WRITE; "" for any.
        name: of what it is for; "" for all.
        prefix: the name is the beginning of one.
    """

    area: str
    action: str = ""
    name: str = ""
    prefix: bool = False

    @classmethod
    def parse(cls, text: str) -> "Scope":
        """Of its text. Raises ValueError."""
        match = _FORM.fullmatch(text)
        if match is None or match[1] not in AREAS or (match[2] and match[2] not in AREAS[match[1]]):
            raise ValueError(f"{text!r} is not allowed, expected {_EXPECTED}")
        if match[1] == ADMIN and text != ADMIN:
            raise ValueError(f"{text!r} is not allowed: {ADMIN} is for all names")
        return cls(match[1], match[2] or "", match[3] or "", bool(match[4]))

    def __str__(self) -> str:
        action = f".{self.action}" if self.action else ""
        name = f":{self.name}{'*' if self.prefix else ''}" if self.name else ""
        return f"{self.area}{action}{name}"

    def allows(self, area: str, action: str, name: str | None) -> bool:
        """True for what it is for; without a name, for what it is for under some name."""
        if self.area == ADMIN:
            return True
        if self.area != area or (self.action and self.action != action):
            return False
        if name is None or not self.name:
            return True
        return name.startswith(self.name) if self.prefix else name == self.name


_EXPECTED = ", ".join(area + (f"[.{'|.'.join(actions)}]" if actions else "") for area, actions in AREAS.items())
_EXPECTED += ", and behind them :NAME or :PREFIX*"


class Scopes(frozenset[Scope]):
    """All of a key's."""

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Scopes":
        """Of their texts. Raises ValueError."""
        return cls(map(Scope.parse, texts))

    def texts(self) -> list[str]:
        """Their texts, in order."""
        return sorted(map(str, self))

    def allow(self, area: str, action: str, name: str | None = None) -> bool:
        """True when one of them does."""
        return any(scope.allows(area, action, name) for scope in self)

    def allow_all(self, area: str, action: str) -> bool:
        """True when one of them is for all names."""
        return any(scope.allows(area, action, None) for scope in self if not scope.name)

    @property
    def admin(self) -> bool:
        """True for what is of others, too."""
        return Scope(ADMIN) in self


ALL = Scopes({Scope(ADMIN)})
