"""The tasks by which workers run jobs."""

import logging
from typing import Any

from celery.exceptions import Reject
from celery.signals import celeryd_after_setup

from tasks.app import app, catalogue, settings
from tasks.jobs import celery_tasks, steps
from tasks.jobs.attempt import Attempt
from tasks.jobs.queries import definition_of
from tasks.jobs.registry import Definition, registry
from tasks.jobs.schema import shortcoming
from tasks.jobs.transaction import make_jobs_engine

log = logging.getLogger(__name__)

steps_engine = steps.make_steps_engine(settings.database_url)
jobs_engine = make_jobs_engine(settings.database_url)
for _query in catalogue.values():
    if _query.job:
        registry.add(definition_of(_query))


@celeryd_after_setup.connect
def _check(**_: Any) -> None:
    """Log at the start of a worker why it cannot run jobs, in one line; the worker starts in any case."""
    if reason := shortcoming(steps_engine):
        log.warning("no jobs: %s", reason)


# Acknowledged when it is done: a worker that is lost before it has claimed the job passes the message on. Behind the
# claim it is the lease alone that counts.
@app.task(name="task.run_job", bind=True, acks_late=True)
def run_job(self: Any, job_id: str, attempt: int) -> str | None:
    """Run an attempt of a job, if the job waits for it. The message is a wake-up, and may come more than once.

    Args:
        job_id: UUID, as text.
        attempt: 1 for the first.

    Returns the state in which the job is now: "succeeded"; "failed"; "queued" when it will be tried again; None when
    there was nothing to do, the job was cancelled, or the end of the lease decides.
    """
    if not isinstance(job_id, str) or type(attempt) is not int:
        raise TypeError("a job's id and an attempt are expected")
    try:
        claim = steps.claim(steps_engine, job_id, attempt, self.request.hostname or "")
    except steps.DatabaseAway as error:
        log.warning("job %s, attempt %d is not begun: %s", job_id, attempt, error)
        raise Reject(error, requeue=True) from error
    if claim is None:
        log.debug("job %s does not wait for attempt %d", job_id, attempt)
        return None
    state = Attempt(steps_engine, jobs_engine, claim, _find(claim.name)).run()
    return None if state is None else state.value


@app.task(name="task.list_jobs", acks_late=True)
def list_jobs() -> list[dict[str, Any]]:
    """What may be known of each job: name, description, parameters, queue, retry, and does it have its effects once."""
    own = registry.definitions()
    names = {definition.name for definition in own}
    others = [definition for definition in celery_tasks.definitions(app) if definition.name not in names]
    return [definition.document() for definition in (*own, *others)]


def _find(name: str) -> Definition | None:
    return registry.find(name) or celery_tasks.find(app, name)
