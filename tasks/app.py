"""The Celery application of the workers."""

import sys
from typing import Any

from celery import Celery
from celery.app import trace
from celery.signals import celeryd_after_setup

from nowait import garbage
from nowait.topology import Topology
from nowait.worker import configure
from tasks.catalogue import CatalogueError, load
from tasks.logs import use_json
from tasks.settings import Settings

settings = Settings.load()
try:
    catalogue = load(settings.queries)
except CatalogueError as error:
    print(error, file=sys.stderr)
    raise SystemExit(2) from None

if settings.log_format == "json":
    use_json()

_CATALOGUE_QUEUE = "queries.catalogue"
_STREAMS_QUEUE = "queries.streams"
_JOBS_QUEUE = "queries.jobs"
# A query that names no queue goes to the first.
_QUEUES = {"queries", "queries.fast", "queries.slow", _STREAMS_QUEUE, _JOBS_QUEUE, _CATALOGUE_QUEUE}
_QUEUES |= {query.queue for query in catalogue.values()}
_MODULES = ["tasks.queries", "tasks.jobs.worker", "tasks.sample", "tasks.metrics", "tasks.tracing"]

topology = Topology.named(settings.topology)
app = Celery("tasks", broker=settings.broker_url, include=_MODULES)
if settings.traces:
    app.task_cls = "tasks.spans:TracedTask"
elif settings.metrics is not None:
    app.task_cls = "tasks.metrics.task:MeasuredTask"
configure(app, topology, canvas=settings.canvas, liveness_file=settings.liveness_file)
app.conf.update(
    # Whoever may publish to it could stop the workers.
    worker_enable_remote_control=settings.remote_control,
    task_default_queue="queries",
    # A job may run for longer than the broker waits for its acknowledgement: it delivers the message again then, which
    # is dropped, as the job runs. Celery's worker would end otherwise.
    broker_channel_error_retry=True,
    beat_scheduler="tasks.scheduler:DatabaseScheduler",
    task_queues=topology.queues(_QUEUES),
    # Rows belong neither in the log nor in events.
    task_annotations={"*": {"resultrepr_maxsize": 0}},
)
# Celery keeps the formats of its lines there, to be changed: this one without its end, which would be the rows.
trace.LOG_SUCCESS = "Task %(name)s[%(id)s] succeeded in %(runtime).3fs"


@celeryd_after_setup.connect
def _consume_catalogue(instance: Any, **_: Any) -> None:
    """Have each worker list its queries, whatever queues it serves (-Q)."""
    for queue in topology.queues([_CATALOGUE_QUEUE]):
        instance.app.amqp.queues.select_add(queue)


@celeryd_after_setup.connect
def _spare_collections(**_: Any) -> None:
    """All modules are imported by then, and no process of a pool is forked yet."""
    garbage.spare(700, 2, 2)  # Python's own for what is new, and all of it at each ninth collection
