"""The Celery application of the workers."""

from typing import Any

from celery import Celery
from celery.signals import celeryd_after_setup

from nowait.tls import enable_hostname_verification
from nowait.topology import Topology
from tasks.catalogue import load_or_exit
from tasks.settings import Settings

settings = Settings.load()
catalogue = load_or_exit(settings.queries)

_CATALOGUE_QUEUE = "queries.catalogue"
# A query that names no queue goes to the first.
_QUEUES = {"queries", "queries.fast", "queries.slow", _CATALOGUE_QUEUE} | {query.queue for query in catalogue.values()}

enable_hostname_verification()
topology = Topology.named(settings.topology)
app = Celery(
    "tasks",
    broker=settings.broker_url,
    backend="nowait.worker:Results",
    task_cls="nowait.worker.backend:TimedTask",
    include=["tasks.queries"],
)
app.conf.update(
    # Read by the consumer and the result backend.
    nowait_topology=topology,
    nowait_canvas=settings.canvas,
    nowait_liveness_file=settings.liveness_file,
    worker_consumer="nowait.worker:Consumer",
    # Whoever may publish to it could stop the workers.
    worker_enable_remote_control=settings.remote_control,
    task_default_queue="queries",
    task_queues=topology.queues(_QUEUES),
    # JSON alone: nothing that a message says is ever turned into an object of its choice.
    accept_content=["json"],
    task_serializer="json",
    result_serializer="json",
    # A long query must not hold back the short ones that a worker fetched with it.
    worker_prefetch_multiplier=1,
    # Seconds. A host that is cut off keeps its tasks from all others for that long, and half as long again.
    broker_heartbeat=6,
    # A broker that is away at start is waited for, like one that goes away later.
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # Rows belong neither in the log nor in the time that it takes to shorten them for it.
    task_annotations={"*": {"resultrepr_maxsize": 0}},
)


@celeryd_after_setup.connect
def _consume_catalogue(instance: Any, **_: Any) -> None:
    """Have each worker list its queries, whatever queues it serves (-Q)."""
    for queue in topology.queues([_CATALOGUE_QUEUE]):
        instance.app.amqp.queues.select_add(queue)
