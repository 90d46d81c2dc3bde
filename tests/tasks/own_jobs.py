"""Not collected by itself: jobs of a project, which its workers include."""

import time
from typing import Any

from sqlalchemy import text

from tasks import app
from tasks.jobs import Job, job

TEXT = {"text": {"type": "string"}}


@job("own", parameters=TEXT)
def own(job: Job, text: str) -> str:
    """Repeats a text."""
    return f"{text} {text}"


@app.task(name="own.task", bind=True, shared=False, job={"parameters": TEXT, "retry": {"max_retries": 2}})
def own_task(self: Any, text: str) -> str:
    """The same as a task."""
    assert self.request.called_directly
    return f"{text} {text}"


@job("own.slow")
def own_slow(job: Job) -> None:
    """Has an effect, shows that it has, and takes two seconds more."""
    job.connection.execute(text("INSERT INTO effects VALUES (:id, :attempt)"), {"id": job.id, "attempt": job.attempt})
    job.progress("half")
    time.sleep(2)
