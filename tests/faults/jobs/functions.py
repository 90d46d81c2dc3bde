"""The jobs of the fault tests: each effect of theirs is a row, in the transaction that the job gets."""

from typing import Any

from sqlalchemy import text

from tasks.jobs import job
from tests.faults.jobs.chance import raises

_EFFECT = text("INSERT INTO effects (job, attempt) VALUES (:job, :attempt)")


@job(
    "test.effect",
    parameters={
        "seconds": {"type": "number", "minimum": 0, "maximum": 120},
        "failing": {"type": "number", "minimum": 0, "maximum": 1, "description": "the part of attempts that raise"},
    },
    max_retries=20,
    backoff=0.2,
    backoff_max=2.0,
)
def effect(job: Any, seconds: float, failing: float) -> int:
    """Two effects, one before and one behind some seconds, and an attempt that may raise between them."""
    job.connection.execute(_EFFECT, {"job": job.id, "attempt": job.attempt})
    job.progress({"begun": job.attempt})
    if seconds:
        job.connection.execute(text("SELECT SLEEP(:seconds)"), {"seconds": seconds})
    job.check()
    if raises(job.id, job.attempt, failing):
        raise RuntimeError("as it was wanted")
    job.connection.execute(_EFFECT, {"job": job.id, "attempt": job.attempt})
    return int(job.attempt)
