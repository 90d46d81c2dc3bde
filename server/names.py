"""The names of topics and queues, as the settings have them. No I/O."""

import re
from collections.abc import Iterator, Mapping

_NAME = re.compile("[A-Za-z0-9_-]{1,64}")
_BOUNDED = re.compile("([A-Za-z0-9_-]{1,64}):([1-9][0-9]{0,6})")
_OF_TASKS = "queries"  # of the queues of tasks, the others have a dot in their names
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
        """`name:number` with commas between, or `none`. Raises ValueError, also for a name that is there twice, or that
        of a queue of tasks: clients could put anything into it, and take the tasks of others out.
        """
        parts = [] if text == _NONE else [_BOUNDED.fullmatch(part.strip()) for part in text.split(",")]
        found = [match for match in parts if match is not None]
        if len(found) < len(parts):
            raise ValueError(f"{text!r} is not allowed, expected name:number with commas between, or none")
        bounds = {match[1]: int(match[2]) for match in found}
        if len(bounds) < len(found) or _OF_TASKS in bounds:
            raise ValueError(f"{text!r} is not allowed, expected each name once, and no queue of tasks")
        return cls(bounds)
