"""The Celery application of the workers."""

from celery import Celery
from kombu import Exchange, Queue

from tasks.catalogue import load_or_exit
from tasks.settings import Settings

settings = Settings.load()
catalogue = load_or_exit(settings.sql)

# A query that names no lane goes to the first.
_LANES = {"queries", "queries.fast", "queries.slow"} | {query.queue for query in catalogue.values()}

app = Celery(
    "tasks",
    broker=settings.broker_url,
    backend="tasks.results:Results",
    task_cls="tasks.results:TimedTask",
    include=["tasks.queries"],
)
app.conf.update(
    worker_consumer="tasks.consumer:StrictConsumer",
    task_default_queue="queries",
    task_queues=[Queue(name, Exchange(name), routing_key=name) for name in sorted(_LANES)],
    # JSON alone: nothing that a message says is ever turned into an object of its choice.
    accept_content=["json"],
    task_serializer="json",
    result_serializer="json",
    # A long query must not hold back the short ones that a worker fetched with it.
    worker_prefetch_multiplier=1,
    # A broker that is away at start is waited for, like one that goes away later.
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # Rows belong neither in the log nor in the time that it takes to shorten them for it.
    task_annotations={"*": {"resultrepr_maxsize": 0}},
)
