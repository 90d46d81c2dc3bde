"""A schedule as the server knows it, and where schedules are kept. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from nowait.jobs.retry import Retry
from nowait.jobs.table import CatchUp, Overlap
from nowait.schedules.ticks import Ticks, ticks_of


@dataclass(frozen=True)
class Definition:
    """What is asked for.

    Attributes:
        job: the name of the job, as the catalogue lists it.
        queue: that its workers serve.
        parameters: its parameters, JSON values that the catalogue has found good.
        retry: when it is tried again.
        webhook: gets its end; None for none.
        cron: the line; None where there is an interval.
        every: the interval in seconds; None where there is a line.
        timezone: of the line.
        enabled: False while it is paused.
        overlap, catch_up: see nowait.jobs.table.
    """

    job: str
    queue: str
    parameters: dict[str, Any]
    retry: Retry
    webhook: str | None
    cron: str | None
    every: float | None
    timezone: str
    enabled: bool
    overlap: Overlap
    catch_up: CatchUp

    def ticks(self, since: datetime) -> Ticks:
        """The ticks, an interval's counted from a moment. Raises BadTicks."""
        return ticks_of(self.cron, self.every, self.timezone, since)


@dataclass(frozen=True)
class Schedule:
    """A row of the table; moments are UTC without a zone, by the database's clock.

    Attributes:
        definition: what was asked for.
        due: the next tick; None for none.
        last_tick: the tick that was dealt with last; None for none.
        last_job: the job that was made of a tick last; None for none.
        version: one more with each edit.
        changed: when its ticks were.
    """

    owner: str
    name: str
    definition: Definition
    due: datetime | None
    last_tick: datetime | None
    last_job: str | None
    version: int
    created: datetime
    changed: datetime


class PreconditionFailed(Exception):
    """The schedule is not as the client expects."""


Condition = Callable[[Schedule | None], bool]
"""What has to hold of a schedule, None where there is none, that a request is carried out."""


class ScheduleStore(Protocol):
    """Where schedules are kept. Each call ends within `timeout` seconds, and raises StoreUnavailable then.

    Those with a condition raise PreconditionFailed where it does not hold.
    """

    async def put(
        self, owner: str, name: str, definition: Definition, condition: Condition, timeout: float, dry_run: bool = False
    ) -> tuple[Schedule, bool]:
        """Make a schedule, or edit it: see `server.schedules.edits`. With `dry_run`, nothing is kept.

        Returns the schedule, and True when there was none before. Raises BadTicks.
        """

    async def get(self, owner: str, name: str, timeout: float) -> Schedule | None:
        """The schedule; None when there is none."""

    async def list(self, owner: str, timeout: float, *, limit: int, after: str | None) -> list[Schedule]:
        """Up to `limit` schedules, by name: those behind the name `after`, without the parameters of their jobs."""

    async def switch(
        self, owner: str, name: str, enabled: bool, condition: Condition, timeout: float
    ) -> Schedule | None:
        """Pause it, or have it go on; None when there is none."""

    async def delete(self, owner: str, name: str, condition: Condition, timeout: float) -> bool:
        """Delete it; False when there is none. The jobs that it has made remain."""
