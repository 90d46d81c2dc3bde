"""Whether a process grows, decided from what was read of it. No I/O.

Memory is what the process has allocated and used: its anonymous pages, in RAM or swapped out. The pages of programs and
libraries are left out, which are there for all processes that use them, and count for one more or less whenever another
one begins or ends.

A process that begins, or meets a fault for the first time, needs more from then on: connections, threads, the most
that has waited at once. Hence the warm-up. Behind it, the slope of the medians of all minutes is compared, by Theil and
Sen: the median of the slopes between any two. A peak is not seen in it, nor a step near an end; what grows by each
request, or by each fault, is. So is a step in the middle: within an hour nobody knows whether it was the last one, in
eight hours it counts for an eighth. Descriptors and threads are read in the seconds before each fault, when nothing is
broken: the least of them, as requests come and go.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

MOST = 1.0  # MB an hour
LONG = 600.0  # seconds of readings without which a slope says nothing
SPREAD = 2  # descriptors, or threads, that come and go
_STATES = 6  # before faults, at least, to be compared
_MINUTE = 60.0
_BEFORE = 10.0  # seconds before a fault


@dataclass(frozen=True)
class Reading:
    """What a process has at a moment.

    Attributes:
        at: seconds since the begin of the run.
        memory: MB, see above.
    """

    at: float
    memory: float
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Growth:
    """What became of a process behind its warm-up.

    Attributes:
        name: of the process.
        minutes: that were looked at.
        memory: of the first and of the last minute, in MB.
        slope: MB an hour; None where the time was too short.
        descriptors, threads: before the first faults, and before the last ones; None for too few.
    """

    name: str
    minutes: float
    memory: tuple[float, float]
    slope: float | None
    descriptors: tuple[float, float] | None
    threads: tuple[float, float] | None

    def broken(self) -> list[str]:
        """What is not as it is to be, in words."""
        found = []
        if self.slope is not None and self.slope >= MOST:
            found.append(f"{self.name}: memory grows by {self.slope:.2f} MB/h")
        for what, counts in (("descriptors", self.descriptors), ("threads", self.threads)):
            if counts is not None and counts[1] > counts[0] + SPREAD:
                found.append(f"{self.name}: {what} grow from {counts[0]:g} to {counts[1]:g}")
        return found


def growth(name: str, readings: Sequence[Reading], faults: Sequence[float], warm_up: float) -> Growth:
    """What became of one life of a process.

    Args:
        readings: of it, in their order; there is one at least behind the warm-up.
        faults: when faults began, as readings have it.
        warm_up: seconds from its first reading on that are left out.
    """
    begin = readings[0].at + warm_up
    warm = [reading for reading in readings if reading.at >= begin]
    minutes = by_minute([(reading.at, reading.memory) for reading in warm])
    seconds = warm[-1].at - warm[0].at
    quiet = [
        before
        for fault in faults
        if (before := [reading for reading in warm if fault - _BEFORE <= reading.at <= fault])
    ]
    return Growth(
        name,
        seconds / 60,
        (minutes[0][1], minutes[-1][1]),
        slope(minutes) * 3600 if seconds >= LONG else None,
        ends([min(reading.descriptors for reading in before) for before in quiet]),
        ends([min(reading.threads for reading in before) for before in quiet]),
    )


def by_minute(values: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The median moments and values of each minute."""
    found: dict[int, list[tuple[float, float]]] = {}
    for moment, value in values:
        found.setdefault(int((moment - values[0][0]) // _MINUTE), []).append((moment, value))
    return [
        (statistics.median(moment for moment, _ in each), statistics.median(value for _, value in each))
        for each in found.values()
    ]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """By how much the values grow in a second; 0 for a single one."""
    slopes = [(there - here) / (later - sooner) for (sooner, here), (later, there) in combinations(points, 2)]
    return statistics.median(slopes) if slopes else 0.0


def ends(counts: Sequence[int]) -> tuple[float, float] | None:
    """The medians of the first and of the last third; None for too few to compare."""
    third = len(counts) // 3
    if len(counts) < _STATES:
        return None
    return statistics.median(counts[:third]), statistics.median(counts[-third:])
