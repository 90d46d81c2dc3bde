"""The sample's jobs: one that shows how far it is, and one that writes."""

import time

from sqlalchemy import text

from tasks.jobs import Job, job

_NAP = 0.2  # seconds at most from a cancel to the end of a pause


@job(
    "slow_count",
    parameters={
        "steps": {"description": "how far it counts", "type": "integer", "minimum": 1, "maximum": 1000},
        "pause": {
            "description": "seconds in front of each step", "type": "number", "minimum": 0, "maximum": 10, "default": 1,
        },
    },
)  # fmt: skip
def slow_count(job: Job, steps: int, pause: float) -> int:
    """Counts, and shows how far it is; the result is the number of steps."""
    for step in range(1, steps + 1):
        _pause(job, pause)
        job.progress({"step": step, "steps": steps})
    return steps


@job("add_visit", parameters={"user": {"description": "whose", "type": "integer", "minimum": 1, "maximum": 4294967295}})
def add_visit(job: Job, user: int) -> int:
    """Adds 1 to the visits of a user; the result is the new number."""
    counted = job.connection.execute(text("UPDATE users SET visits = visits + 1 WHERE id = :user"), {"user": user})
    if not counted.rowcount:
        raise LookupError("there is no such user")
    visits = job.connection.execute(text("SELECT visits FROM users WHERE id = :user"), {"user": user}).scalar_one()
    return int(visits)


def _pause(job: Job, seconds: float) -> None:
    end = time.monotonic() + seconds
    job.check()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _NAP))
        job.check()
