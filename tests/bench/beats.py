"""The same schedules, edits and kills, with one scheduler and with two: ours, and others for Celery."""

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from deploy.local.process import Process
from tests.bench import beat_script
from tests.bench.beat_counts import GRACE, Edition, by_moments, by_ticks
from tests.bench.beat_script import Definition
from tests.bench.beat_sides import SIDES, Side
from tests.bench.peer import Missing
from tests.bench.results import Results, Step
from tests.bench.site import Site

_MINUTE = 60.0


class Beats:
    """One side, with one scheduler and with two.

    Args:
        site: where they run.
        name: of the side.
        quick: with two alone.
    """

    def __init__(self, site: Site, name: str, quick: bool) -> None:
        self._site = site
        self._name = name
        self._schedulers = (2,) if quick else (1, 2)

    def steps(self) -> list[Step]:
        """All of it."""
        # Each waits for its second of a minute.
        return [
            Step(f"beats, {self._name}: {number}", 2 * _MINUTE, partial(self._run, number))
            for number in self._schedulers
        ]

    def _run(self, number: int, results: Results) -> None:
        try:
            with SIDES[self._name](self._site) as side:
                results.beats += [{"side": self._name, "beats": number, **found} for found in _Play(side, number).run()]
        except Missing as error:
            results.failed[f"beats, {self._name}"] = str(error)
        finally:
            self._site.clear()


class _Play:
    """A side to which all of it happens.

    Args:
        side: where it happens.
        number: of its schedulers.
    """

    def __init__(self, side: Side, number: int) -> None:
        self._side = side
        self._number = number
        self._beats: dict[int, Process] = {}
        self._journal: list[Edition] = []

    def run(self) -> list[dict[str, Any]]:
        """What was counted, by each way to count."""
        for name, definition in beat_script.schedules().items():
            self._put(name, definition)
        time.sleep((beat_script.BEGIN - beat_script.SETTLE - time.time()) % _MINUTE)
        start = time.time() + beat_script.SETTLE
        end = start + beat_script.LENGTH
        for which in range(self._number):
            self._start(which)
        for at, act in self._events():
            _sleep_until(start + at)
            act()
        _sleep_until(end + GRACE)
        sent = self._side.sent()
        found = [{"measure": "moments", **asdict(by_moments(self._journal, sent, start, end))}]
        if any(one.tick is not None for one in sent):
            found.append({"measure": "ticks", **asdict(by_ticks(self._journal, sent, start, end))})
        return found

    def _events(self) -> list[tuple[float, Callable[[], None]]]:
        """In their order, with their seconds."""
        found = [(edit.at, partial(self._put, edit.name, edit.definition)) for edit in beat_script.edits()]
        for at, which in beat_script.KILLS:
            found.append((at, partial(self._kill, which % self._number)))
            found.append((at + beat_script.RESTART, partial(self._start, which % self._number)))
        return sorted(found, key=lambda event: event[0])

    def _put(self, name: str, definition: Definition) -> None:
        begin = time.time()
        ticks = self._side.put(name, definition)
        self._journal.append(Edition(name, definition, begin, time.time(), ticks))

    def _start(self, which: int) -> None:
        self._beats[which] = self._side.start()

    def _kill(self, which: int) -> None:
        self._beats[which].kill()


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))
