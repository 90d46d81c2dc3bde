"""The Celery application of the workers."""

from celery import Celery

from nowait.topology import DEFINED, PLAIN, verify_hosts
from tasks.catalogue import load_or_exit
from tasks.settings import Settings

settings = Settings.load()
catalogue = load_or_exit(settings.sql)

# A query that names no lane goes to the first.
_LANES = {"queries", "queries.fast", "queries.slow"} | {query.queue for query in catalogue.values()}

verify_hosts()
routes = DEFINED if settings.definitions else PLAIN
app = Celery(
    "tasks",
    broker=settings.broker_url,
    backend="nowait.worker:Results",
    task_cls="nowait.worker.backend:TimedTask",
    include=["tasks.queries"],
)
app.conf.update(
    # Read by the consumer and the result backend.
    routes=routes,
    canvas=settings.canvas,
    alive=settings.alive,
    worker_consumer="nowait.worker:Consumer",
    # Whoever may publish to it could stop the workers.
    worker_enable_remote_control=settings.remote_control,
    task_default_queue="queries",
    task_queues=routes.queues(_LANES),
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
