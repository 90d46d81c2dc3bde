"""The names of topics and queues, as the settings have them. No I/O."""

import re
from collections.abc import Iterator, Mapping

_NAME = re.compile("[A-Za-z0-9_-]{1,64}")
_BOUNDED = re.compile("([A-Za-z0-9_-]{1,64}):([1-9][0-9]{0,6})")
_NONE = "none"


class Names(frozenset[str]):
    """Names, with commas between as text."""

    def __str__(self) -> str:
        return ",".join(sorted(self)) or _NONE

    @classmethod
    def parse(cls, text: str) -> "Names":
        """Names with commas between, or `none`. Raises ValueError."""
        names = [] if text == _NONE else [name.strip() for name in text.split(",")]
        if not all(map(_NAME.fullmatch, names)):
            raise ValueError(f"{text!r} is not allowed, expected names with commas between, or none")
        return cls(names)


class Bounds(Mapping[str, int]):
    """How many messages may wait in each queue, by the queues' names; never changed."""

    def __init__(self, bounds: Mapping[str, int]) -> None:
        self._bounds = dict(bounds)

    def __getitem__(self, name: str) -> int:
        return self._bounds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._bounds)

    def __len__(self) -> int:
        return len(self._bounds)

    def __hash__(self) -> int:
        return hash(frozenset(self._bounds.items()))

    def __str__(self) -> str:
        return ",".join(f"{name}:{bound}" for name, bound in sorted(self.items())) or _NONE

    @classmethod
    def parse(cls, text: str) -> "Bounds":
        """`name:number` with commas between, or `none`. Raises ValueError."""
        parts = [] if text == _NONE else [_BOUNDED.fullmatch(part.strip()) for part in text.split(",")]
        found = [match for match in parts if match is not None]
        if len(found) < len(parts):
            raise ValueError(f"{text!r} is not allowed, expected name:number with commas between, or none")
        return cls({match[1]: int(match[2]) for match in found})
