"""What happens to each scheduler of the comparison: its schedules, their edits, and what is killed. No I/O."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

LENGTH = 75.0  # seconds
SETTLE = 5.0  # seconds that the schedulers run before
RESTART = 1.0  # seconds from the end of a scheduler to its next start, as systemd's RestartSec
# So that every run has its two minutes at the same moments.
BEGIN = 50  # the second of a minute at which it begins
KILLS = ((7.0, 0), (18.0, 1), (32.0, 1), (43.0, 0), (55.0, 1), (65.0, 0))  # seconds, and which one: modulo their number
_BURSTS = (5.0, 30.0)  # when edits begin
_EACH = 0.1  # seconds from one edit to the next
_INTERVALS = 20
_UNTOUCHED = 4  # every so many-th is never edited
_CRONS = 2


@dataclass(frozen=True)
class Definition:
    """A schedule: `every` seconds, or at every minute when that is None."""

    every: int | None
    enabled: bool = True


@dataclass(frozen=True)
class Edit:
    """At `at` seconds a schedule becomes another."""

    at: float
    name: str
    definition: Definition


def schedules() -> dict[str, Definition]:
    """What there is at the beginning, by name."""
    intervals = {f"interval-{number}": Definition(2 + number % 4) for number in range(_INTERVALS)}
    return intervals | {f"minute-{number}": Definition(None) for number in range(_CRONS)}


def edits() -> Iterator[Edit]:
    """In their order: three of each schedule in each burst, of which the last one lasts."""
    before = schedules()
    names = [f"interval-{number}" for number in range(_INTERVALS) if number % _UNTOUCHED]
    for burst, began in enumerate(_BURSTS):
        for index, (name, turn) in enumerate((name, turn) for turn in range(3) for name in names):
            number = names.index(name)
            lasting = _lasting(before[name], pause=burst == number % 3)
            passing = (replace(before[name], enabled=not before[name].enabled), Definition(4))
            definition = lasting if turn == 2 else passing[turn]
            yield Edit(began + index * _EACH, name, definition)
            if turn == 2:
                before[name] = lasting


def _lasting(before: Definition, pause: bool) -> Definition:
    """A pause, or another interval that is far from the one before."""
    assert before.every is not None
    return replace(before, enabled=False) if pause else Definition(2 if before.every > 3 else 5)
