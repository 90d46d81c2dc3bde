"""The soak itself: load, and one fault after the other."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.errors import LocalError
from tests.conftest import starting
from tests.soak.faults import FAULTS, moments, plan
from tests.soak.growth import LONG, Growth, growth
from tests.soak.load import Load
from tests.soak.processes import Life, Watch
from tests.soak.stack import SoakStack
from tests.soak.work import Work

_SHORT = 1 / 3  # of the run, which the warm-up takes at most


@dataclass(frozen=True)
class Happened:
    """A fault: from when to when, in seconds since the begin of the load."""

    name: str
    begin: float
    end: float


@dataclass
class Outcome:
    """What has come of a soak.

    Attributes:
        seconds: that the load lasted.
        warm_up: seconds from the begin of a process in which it may grow.
        faults: in their order.
        works: what became of the load, by kind.
        lives: of the processes.
        kept: the growth of those that live through all of it.
        others: the growth of the others' lives that were long enough.
        again: messages of the queue that came again as it is documented.
        problems: what else did not go as it should, in words.
    """

    seconds: float
    warm_up: float
    faults: list[Happened] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    kept: list[Growth] = field(default_factory=list)
    others: list[Growth] = field(default_factory=list)
    again: int = 0
    problems: list[str] = field(default_factory=list)

    def verdict(self) -> list[str]:
        """What is not as it is to be, in words; none when all is."""
        found = [what for work in self.works for what in work.verdict()]
        found += [what for each in self.kept for what in each.broken()]
        return found + self.problems

    @property
    def not_judged(self) -> list[str]:
        """What the run was too short for, by the names of the processes."""
        return [each.name for each in self.kept if None in (each.slope, each.descriptors, each.threads)]


Say = Callable[[float, str, bool], None]


async def soak(
    folder: Path, seconds: float, every: float, seed: int, say: Say, enough: asyncio.Event | None = None
) -> Outcome:
    """Load for so many seconds, with a fault every so often.

    Args:
        folder: for all that is kept, and what the programs print; empty.
        seed: of the faults and the load.
        say: gets, at least once a second, how many seconds have passed, what goes on, and whether it is new.
        enough: ends the load sooner, once it is set.
    """
    enough = enough or asyncio.Event()
    when = moments(seconds, every)
    names = plan(seed, len(when))
    # The first round has each fault once.
    outcome = Outcome(seconds, min(every * len(FAULTS), seconds * _SHORT))
    with starting(folder / "logs") as start:
        stack = SoakStack(folder, start)
        try:
            say(0.0, "starting", True)
            await stack.begin()
            await _run(stack, list(zip(when, names)), seed, outcome, say, enough)
        finally:
            await stack.end()
    return outcome


async def _run(
    stack: SoakStack,
    faults: Sequence[tuple[float, str]],
    seed: int,
    outcome: Outcome,
    say: Say,
    enough: asyncio.Event,
) -> None:
    load = Load(stack, seed)
    try:
        await load.begin(fill=outcome.seconds - outcome.warm_up >= LONG)
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        loading = asyncio.create_task(load.run(over))
        began = time.monotonic()
        async with Watch(stack.running, began) as watch:
            current = "load alone"
            while (passed := time.monotonic() - began) < outcome.seconds and not enough.is_set():
                if len(outcome.faults) < len(faults) and passed >= faults[len(outcome.faults)][0]:
                    outcome.faults.append(await _carry_out(faults[len(outcome.faults)][1], stack, began, say))
                    current = f"load, after: {outcome.faults[-1].name}"
                say(passed, current, False)
                await asyncio.sleep(0.5)
        outcome.seconds = passed
        say(passed, "waiting for the last work", True)
        over.set_result(None)
        await loading
        outcome.lives = watch.lives
        kills = sum(fault.name == "server killed" for fault in outcome.faults)
        outcome.works = await load.settle(kills)
        outcome.again = load.again
    finally:
        await load.end()
    outcome.problems += stack.problems
    for name, process in stack.kept().items():
        if process.returncode is not None:
            outcome.problems.append(f"{name} has ended by itself with status {process.returncode}")
    begins = [fault.begin for fault in outcome.faults]
    for life in outcome.lives:
        seconds = life.readings[-1].at - life.readings[0].at
        if life.name in stack.kept():
            outcome.kept.append(growth(life.name, life.readings, begins, outcome.warm_up))
        elif seconds >= LONG and seconds > outcome.warm_up:
            outcome.others.append(growth(life.name, life.readings, begins, outcome.warm_up))


async def _carry_out(name: str, stack: SoakStack, began: float, say: Say) -> Happened:
    """Have a fault happen; returns once its cause is over."""
    begin = time.monotonic() - began
    say(begin, name, True)
    doing = asyncio.ensure_future(FAULTS[name](stack))
    while not doing.done():
        await asyncio.wait([doing], timeout=0.5)
        say(time.monotonic() - began, name, False)
    try:
        await doing
    except LocalError as error:
        stack.problems.append(f"{name}: {error}")
    return Happened(name, begin, time.monotonic() - began)
