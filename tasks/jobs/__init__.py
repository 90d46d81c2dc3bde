"""Durable jobs on the workers' side: claimed, run, and ended once.

A module of jobs, which Celery loads with `--include`:

    from tasks.jobs import Job, job

    @job("close_month", parameters={"month": {"type": "string"}}, max_retries=3)
    def close_month(job: Job, month: str) -> int:
        ...
"""

from tasks.jobs.job import Job
from tasks.jobs.registry import job

__all__ = ["Job", "job"]
