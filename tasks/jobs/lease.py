"""What a worker knows of its lease on a job. No I/O: the clock is an argument, in seconds of time.monotonic().

A lease ends by the database's clock; the worker counts from when it has last written to the row, and so gives up first.
"""

from typing import Any

from nowait.jobs.protocol import HEARTBEAT, LEASE

REPORTS = 1.0  # seconds from one report of progress to the next
_SHORTEST = 0.25  # seconds from one heartbeat that has failed to the next


class JobEnded(Exception):
    """The attempt is over, whatever the function does: nothing of it will be committed."""


class LeaseLost(JobEnded):
    """The job was cancelled, or another worker has it, or may have it."""


class TimeLimitExceeded(JobEnded):
    """The attempt has taken as long as it may."""


class Lease:
    """The lease of one attempt.

    Args:
        claimed: when the claim was sent to the database.
        time_limit: seconds that the attempt may take.

    Attributes:
        ends: when the attempt has taken as long as it may.
    """

    def __init__(self, claimed: float, time_limit: float) -> None:
        self.ends = claimed + time_limit
        self._written = claimed
        self._reported = claimed - REPORTS
        self._progress: tuple[Any] | None = None  # not written yet
        self._refused = False

    def __repr__(self) -> str:
        return f"<Lease {'refused' if self._refused else 'held'}>"

    @property
    def unreported(self) -> tuple[Any] | None:
        """The newest progress, as the only item, when it is not written yet."""
        return self._progress

    def report(self, progress: Any) -> None:
        """Have this progress written instead of any that is not written yet."""
        self._progress = (progress,)

    def check(self, now: float) -> None:
        """Raise JobEnded when the attempt is over."""
        if self._refused or now - self._written >= LEASE:
            raise LeaseLost("the job is cancelled, or not this worker's any more")
        if now >= self.ends:
            raise TimeLimitExceeded("the time of the attempt is over")

    def pause(self, now: float) -> float:
        """Seconds until the row may have to be written, or the attempt is over."""
        return min(max(min(self._written + HEARTBEAT, self.ends) - now, _SHORTEST), REPORTS)

    def is_due(self, now: float) -> bool:
        """True when the row is to be written now."""
        reports = self._progress is not None and now - self._reported >= REPORTS
        return reports or now - self._written >= HEARTBEAT

    def written(self, sent: float, progress: tuple[Any] | None) -> None:
        """The row was written, by a statement that was sent then, with that progress; None for none."""
        self._written = sent
        if progress is not None:
            self._reported = sent
            self.drop(progress)

    def drop(self, progress: tuple[Any]) -> None:
        """This progress is not to be written any more."""
        if self._progress is progress:
            self._progress = None

    def refuse(self) -> None:
        """The row is not this attempt's any more."""
        self._refused = True
