"""A peer and our own side, measured in turn, with nothing else running."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from tests.bench.peer import CONNECTIONS, Missing, Side, Sides
from tests.bench.ratio import turn
from tests.bench.results import Results, Step
from tests.bench.site import Site, cpu, memory
from tests.bench.tools import Arrivals, LoadError, wrk

LEAN = "lean"  # which each of the others is measured with
# What the ratio of the requests per second, ours by theirs, should be at least; None where it is only to be seen.
PEERS: dict[str, float | None] = {
    "bridge": None, "executor": 5.0, "polling": 5.0, "flower": 5.0, "taskiq": 3.0, "faststream": 5.0, "aio-pika": 2.0,
}  # fmt: skip
# What the ratio of the CPU per request should be at most, by peer and part.
CPU_BOUNDS = {("bridge", "broker"): 0.5}
PARTS = ("server", "worker", "broker")


def _check(sides: Sequence[Side], seconds: int) -> None:
    """Ask each side 100 times a second, with a number each time; raises Missing when an answer is wrong or late."""
    # Not by a POST: under load alone its body is compared.
    urls = [side.url.rpartition("/")[0] for side in sides if side.body is None]
    arrivals = [Arrivals(url, rate=100, seconds=seconds, users=50, numbers=True) for url in urls]
    for came in [one.result() for one in arrivals]:
        if wrong := came.failed + came.unsent:
            raise Missing(f"{wrong} of {seconds * 100} answers were wrong, late or none")


def _measure(site: Site, side: Side, seconds: int) -> dict[str, Any]:
    """A round of one side: see Closed; `cpu`, microseconds by request, and `memory`, megabytes, of each part."""
    parts = dict(zip(PARTS, ([side.server], side.workers, site.broker())))
    before = {part: cpu(*processes) for part, processes in parts.items()}
    measured = wrk(side.url, connections=CONNECTIONS, seconds=seconds, expected=side.expected, body=side.body)
    used = {part: cpu(*processes) - before[part] for part, processes in parts.items()}
    each = {part: seconds_ / max(1, measured.requests) * 1e6 for part, seconds_ in used.items()}
    megabytes = {part: sum(map(memory, processes)) for part, processes in parts.items()}
    return {**asdict(measured), "cpu": each, "memory": megabytes}


class Pair:
    """A peer and our own side: both started, measured in turn, and stopped before the next pair.

    Args:
        site: where they run.
        name: the peer's.
        quick: fewer rounds, and shorter ones.
    """

    def __init__(self, site: Site, name: str, quick: bool) -> None:
        self._site = site
        self._name = name
        self._quick = quick
        self._seconds = 1 if quick else 2
        self._sides: tuple[Side, Side] | None = None

    def steps(self) -> list[Step]:
        """All of it."""
        start = 6.0 if self._quick else 23.0 if self._name in ("executor", "polling") else 10.0
        found = [Step(f"{self._name}: start", start, self._start)]
        for number in range(2 if self._quick else 6):
            seconds = 2 * self._seconds + 0.3
            found.append(Step(f"{self._name}: round {number}", seconds, partial(self._round, number)))
        return [*found, Step(f"{self._name}: stop", 1.0, lambda _: self._site.clear())]

    def _start(self, results: Results) -> None:
        sides = Sides(self._site, self._quick)
        try:
            theirs, ours = sides.start(self._name), sides.start(LEAN)
            _check((ours, theirs), 1 if self._quick else 4)
            for side in (ours, theirs):
                _measure(self._site, side, 1)
        except (Missing, LoadError) as error:
            results.missing[self._name] = str(error)
        else:
            self._sides = ours, theirs
            results.how[self._name] = theirs.how

    def _round(self, number: int, results: Results) -> None:
        if self._sides is None:
            return
        ours, theirs = (partial(_measure, self._site, side, self._seconds) for side in self._sides)
        results.peers.setdefault(self._name, []).append(turn(number, ours, theirs))
