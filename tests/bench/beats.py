"""The same schedules, edits and kills, with one scheduler and with two: ours, and others for Celery."""

import time
from collections.abc import Iterator
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
                results.beats += [{"side": self._name, "beats": number, **found} for found in _play(side, number)]
        except Missing as error:
            results.failed[f"beats, {self._name}"] = str(error)
        finally:
            self._site.clear()


def _play(side: Side, number: int) -> Iterator[dict[str, Any]]:
    """Let all of it happen. What was counted, by each way to count."""
    journal: list[Edition] = []
    beats: dict[int, Process] = {}

    def put(name: str, definition: Definition) -> None:
        begin = time.time()
        tick = side.put(name, definition)
        journal.append(Edition(name, definition, begin, time.time(), tick))

    def start_beat(which: int) -> None:
        beats[which] = side.start()

    def kill_beat(which: int) -> None:
        beats[which].kill()

    for name, definition in beat_script.schedules().items():
        put(name, definition)
    time.sleep((beat_script.BEGIN - beat_script.SETTLE - time.time()) % _MINUTE)
    start = time.time() + beat_script.SETTLE
    end = start + beat_script.LENGTH
    for which in range(number):
        start_beat(which)
    todo = [(edit.at, partial(put, edit.name, edit.definition)) for edit in beat_script.edits()]
    for at, which in beat_script.KILLS:
        which %= number
        todo += [(at, partial(kill_beat, which)), (at + beat_script.RESTART, partial(start_beat, which))]
    for at, act in sorted(todo, key=lambda one: one[0]):
        time.sleep(max(0.0, start + at - time.time()))
        act()
    time.sleep(max(0.0, end + GRACE - time.time()))
    sent = side.sent()
    yield {"measure": "moments", **asdict(by_moments(journal, sent, start, end))}
    if any(one.tick is not None for one in sent):
        yield {"measure": "ticks", **asdict(by_ticks(journal, sent, start, end))}
