"""What every handler is built with."""

import asyncio
from dataclasses import dataclass

from server.answers.kept import KeptAnswers
from server.answers.shared import SharedCalls
from server.bridge import Tasks
from server.catalogue import Catalogue
from server.http.hosts import Hosts
from server.http.in_flight import InFlightRequests
from server.http.origins import Origins
from server.http.proxies import Proxies
from server.jobs.kind import JobKind
from server.jobs.model import Publisher, Store
from server.jobs.request import CheckWebhook
from server.jobs.watcher import Watcher
from server.keys.gate import Gate
from server.query import Query
from server.queues.queues import Queues
from server.schedules.model import ScheduleStore
from server.topics.log import TopicLog


@dataclass(frozen=True)
class Context:
    """The one argument of every handler.

    Attributes:
        tasks: the bridge.
        catalogue: the named queries.
        kinds: of jobs.
        jobs: where jobs are kept.
        publisher: wakes workers for them.
        watcher: finds out which of them have changed.
        schedules: where schedules are kept.
        topics: the topics.
        topic_names: their names.
        queues: the queues of messages.
        no_jobs: the queues that take no jobs: these, and what else is none of tasks.
        check_webhook: what a job's webhook may be; None where none is configured.
        shared_calls: those of queries that several requests wait for.
        kept_answers: those of queries that may be given again.
        in_flight: the requests of this server.
        turns: of requests that write large parts of answers.
        gate: knows clients by their keys.
        hosts: the names by which clients may ask.
        origins: whose pages may use this server.
        proxies: that are before it.
        timeout: seconds that a request may take.
        stream_timeout: seconds that a stream may take; its first part has to come within `timeout`.
        trust_traceparent: requests go on with their clients' traces.
        demo: True when the comparison routes and `delay` are on.
    """

    tasks: Tasks
    catalogue: Catalogue[Query]
    kinds: Catalogue[JobKind]
    jobs: Store
    publisher: Publisher
    watcher: Watcher
    schedules: ScheduleStore
    topics: TopicLog
    topic_names: frozenset[str]
    queues: Queues
    no_jobs: frozenset[str]
    check_webhook: CheckWebhook | None
    shared_calls: SharedCalls
    kept_answers: KeptAnswers
    in_flight: InFlightRequests
    turns: asyncio.Lock
    gate: Gate
    hosts: Hosts
    origins: Origins
    proxies: Proxies
    timeout: float
    stream_timeout: float
    trust_traceparent: bool
    demo: bool
