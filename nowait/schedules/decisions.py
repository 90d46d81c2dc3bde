"""What becomes of schedules whose ticks have come. No I/O."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from nowait.jobs.ids import new_id
from nowait.jobs.table import CatchUp, Overlap
from nowait.schedules.protocol import Edition, Move, Tick
from nowait.schedules.ticks import ticks_of

MISSED = 5.0  # seconds behind which a tick was missed; one that is not gets its job in any case

_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class DueSchedule:
    """A row of protocol.due().

    Attributes: as the columns of the table.
    """

    owner: str
    name: str
    cron: str | None
    every: float | None
    timezone: str
    overlap: str
    catch_up: str
    due: datetime
    version: int
    changed: datetime
    last_job: str | None

    @property
    def edition(self) -> Edition:
        """Another one than that of the schedule before and behind each edit."""
        return Edition(self.owner, self.name, self.version, self.changed)


@dataclass
class Plan:
    """What is to be done, in the transaction that has locked the schedules.

    Attributes:
        moves: of those that can be read here.
        unreadable: why others cannot be: they are left as they are, as another host may know more.
    """

    moves: list[Move] = field(default_factory=list)
    unreadable: dict[Edition, str] = field(default_factory=dict)

    @classmethod
    def of(cls, schedules: Iterable[DueSchedule], unfinished: Collection[str], now: datetime) -> "Plan":
        """Decide.

        Args:
            schedules: with a tick that has come.
            unfinished: of last_jobs(), the jobs that have not ended.
            now: the database's time.
        """
        plan = cls()
        for schedule in schedules:
            try:
                plan.moves.append(_move(schedule, schedule.last_job in unfinished, now))
            except ValueError as error:  # BadTicks is one, too
                plan.unreadable[schedule.edition] = str(error)
        return plan


def due_schedule(row: Any) -> DueSchedule:
    """Of a row of protocol.due()."""
    return DueSchedule(**{each.name: getattr(row, each.name) for each in fields(DueSchedule)})


def last_jobs(schedules: Iterable[DueSchedule]) -> list[str]:
    """The jobs that have to have ended before these schedules make others."""
    return [each.last_job for each in schedules if each.overlap == Overlap.SKIP.value and each.last_job is not None]


def _move(schedule: DueSchedule, overlaps: bool, now: datetime) -> Move:
    overlap, catch_up = Overlap(schedule.overlap), CatchUp(schedule.catch_up)
    ticks = ticks_of(schedule.cron, schedule.every, schedule.timezone, schedule.changed)
    missed = now - timedelta(seconds=MISSED)
    following = schedule.due if schedule.due > missed else ticks.after(missed)
    chosen = []
    while following is not None and following <= now:
        chosen.append(following)
        following = ticks.after(following)
    if chosen:
        last = chosen[-1]
    else:
        last = ticks.latest(schedule.due, now)
        chosen = [last] if catch_up is CatchUp.LATEST else []
    if overlap is Overlap.SKIP:
        chosen = [] if overlaps else chosen[:1]
    milliseconds = (now - _EPOCH) // timedelta(milliseconds=1)
    made = tuple(Tick(tick, new_id(milliseconds)) for tick in chosen)
    return Move(schedule.owner, schedule.name, made, last, following)
