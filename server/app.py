"""Puts the handlers together."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import Application

from nowait.link.depths import Depths
from nowait.topology import Topology
from server.answers.kept import KeptAnswers
from server.answers.shared import SharedCalls
from server.bridge import Broker
from server.catalogue import Catalogue
from server.figures.instruments import Instruments
from server.figures.lag import LoopLag
from server.http.access_log import log_and_observe
from server.http.context import Context
from server.http.handler import NotFoundHandler, TooLargeHandler
from server.http.in_flight import InFlightRequests
from server.http.limits import BodyLimit
from server.http.route import origin_form, rules
from server.jobs.connections import Connections
from server.jobs.database import DatabaseStore
from server.jobs.kind import JobKind
from server.jobs.model import Publisher, Store
from server.jobs.publisher import TaskPublisher
from server.jobs.relay import Relay
from server.jobs.watcher import Watcher
from server.keys.file import KeyFile
from server.keys.gate import Gate
from server.keys.loader import KeyLoader
from server.observer import Nobody, Observer
from server.query import Query
from server.queues.queues import Queues
from server.routes import docs, health, jobs, queries
from server.routes import queues as message_queues
from server.routes import schedules, topics, users
from server.schedules.database import DatabaseScheduleStore
from server.schedules.model import ScheduleStore
from server.settings import Settings
from server.topics.log import TopicLog
from server.topics.stream import TopicStream
from server.webhooks import url
from server.webhooks.addresses import AllowList
from server.webhooks.deliverer import Deliverer
from server.webhooks.resolver import GuardedResolver
from server.webhooks.sender import Sender
from server.webhooks.signing import Signer

Close = Callable[[], Awaitable[None]]


class WebApplication(Application):
    """The web application, with what has to be ended before the server stops.

    Attributes:
        in_flight: the requests that are being answered.
        shared_calls, kept_answers: the answers of queries that several clients get.
        relay: looks after the jobs, once it runs.
        deliverer: delivers their ends, once it runs; None where no webhooks are configured.
        watcher: finds out which jobs have changed.
        topics: the topics.
        queues: the queues of messages.
        gate: stands between clients and routes.
        keys: those that clients need; None where none are configured.
        connections: to the database of jobs.
        instruments: measure the loop and the broker's queues.
    """

    def __init__(
        self,
        routes: list[Any],
        context: Context,
        connections: Connections,
        instruments: Instruments,
        relay: Relay,
        deliverer: Deliverer | None,
        keys: KeyLoader | None,
        observer: Observer,
        stops: list[Callable[[], None]],
        closes: list[Close],
    ) -> None:
        self._options = {"context": context}
        super().__init__(
            rules(routes),
            default_handler_class=NotFoundHandler,
            default_handler_args=self._options,
            log_function=log_and_observe(observer),
        )
        self.in_flight = context.in_flight
        self.shared_calls = context.shared_calls
        self.kept_answers = context.kept_answers
        self.relay = relay
        self.deliverer = deliverer
        self.watcher = context.watcher
        self.topics = context.topics
        self.queues = context.queues
        self.keys = keys
        self.gate = context.gate
        self.connections = connections
        self.instruments = instruments
        self._stops = stops
        self._closes = closes

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """The handler of a request, behind the limit for its body."""
        origin_form(request)
        handler = super().find_handler(request, **kwargs)
        assert handler is not None, "there is a default handler"
        return BodyLimit(
            request,
            handler,
            lambda: self.get_handler_delegate(request, TooLargeHandler, self._options),
            lambda: self.gate.knows(request.headers.get_list("Authorization")),
        )

    def stop_waiting(self) -> None:
        """Have all answers that are held back for news given as they are, and streams of events end."""
        for stop in self._stops:
            stop()

    async def close(self) -> None:
        """Let go of what the handlers hold."""
        for close in self._closes:
            await close()


def make_app(
    tasks: Broker,
    settings: Settings,
    store: Store | None = None,
    publisher: Publisher | None = None,
    schedule_store: ScheduleStore | None = None,
    observer: Observer | None = None,
) -> WebApplication:
    """The application that answers through a bridge.

    Args:
        tasks: the bridge.
        settings: the settings.
        store: where the routes keep jobs; None for the database of the settings.
        publisher: wakes workers for what they have added; None for one that sends tasks.
        schedule_store: where they keep schedules; None for the database as well.
        observer: sees what has happened; None for nobody.

    Raises KeyFileError.
    """
    observer = observer or Nobody()

    def fetch(task: str) -> Callable[[float], Awaitable[Any]]:
        queue = queries.CATALOGUE_QUEUE
        return lambda timeout: tasks.send_task(task, timeout=timeout, idempotent=True, queue=queue)

    topology = Topology.named(settings.topology)
    connections = Connections(settings.database_url)
    sender = TaskPublisher(tasks)
    allowed = settings.webhook_allow or AllowList()
    kinds = Catalogue("jobs", JobKind.of_document, fetch("task.list_jobs"))
    check_webhook = partial(url.check, allowed=allowed)
    deliverer = None
    if settings.webhook_secrets is not None:
        webhooks = Sender(GuardedResolver(allowed), Signer(settings.webhook_secrets))
        deliverer = Deliverer(connections, webhooks, partial(_once, kinds), check_webhook, observer.attempted)
    relay = Relay(connections, sender, settings.retention, deliverer.hurry if deliverer else _nobody)
    kept = store or DatabaseStore(connections, settings.max_jobs)
    gate = Gate(None, settings.processes)
    keys = None if settings.keys is None else KeyLoader(KeyFile(settings.keys), gate)
    answers = KeptAnswers(settings.cache_bytes, tasks.hold)
    context = Context(
        tasks=tasks,
        catalogue=Catalogue("queries", Query.of_document, fetch("task.list_queries")),
        kinds=kinds,
        jobs=kept,
        publisher=publisher or sender,
        schedules=schedule_store or DatabaseScheduleStore(connections),
        watcher=Watcher(kept, settings.max_watchers),
        topics=TopicLog(TopicStream(tasks, topology), settings.topics, settings.max_subscribers),
        topic_names=settings.topics,
        queues=Queues(tasks, topology, settings.queues, settings.max_consumers, observer.put),
        no_jobs=frozenset(settings.queues) | {topology.topic_log, topology.dead_letter_queue},
        check_webhook=None if deliverer is None else check_webhook,
        shared_calls=SharedCalls(answers.keep),
        kept_answers=answers,
        in_flight=InFlightRequests(),
        turns=asyncio.Lock(),
        gate=gate,
        hosts=settings.accepted_hosts,
        origins=settings.cors_origins,
        proxies=settings.trusted_proxies,
        timeout=settings.timeout,
        stream_timeout=settings.stream_timeout,
        trust_traceparent=settings.trust_traceparent,
        demo=settings.demo,
    )
    # Tornado tries them in this order: the busiest come first.
    modules: list[Any] = [users, queries, jobs, schedules, topics, message_queues, health]
    routes = [route for module in modules for route in module.routes(context)]
    operations = [module.operations for module in modules]
    stops = [context.watcher.close, context.topics.close, context.queues.close]
    closes: list[Close] = [connections.close] if deliverer is None else [deliverer.close, connections.close]
    depths = Depths(settings.broker_url, lambda: _queues(context) | settings.queues.keys())
    lag = LoopLag(observe=observer.lagged)
    instruments = Instruments(tasks, lag, depths, settings.queues, settings.processes)
    closes.append(depths.close)
    if settings.demo:
        # Imported here alone: a server without the demo needs none of the drivers that it compares.
        from server.comparison import Comparison
        from server.live.pulse import Pulse
        from server.routes import demo, live, page

        compared = Comparison(settings.database_url)
        pulse = Pulse(instruments.read, instruments.measure, settings.max_watchers)
        routes += demo.routes(context, compared) + live.routes(context, pulse) + page.routes(context)
        operations += [demo.operations, live.operations, page.operations]
        stops.append(pulse.close)
        closes.append(compared.close)
    routes += docs.routes(context, [*operations, docs.operations])
    return WebApplication(routes, context, connections, instruments, relay, deliverer, keys, observer, stops, closes)


def _queues(context: Context) -> set[str]:
    """The queues of tasks that the server sends to: of those of queries and jobs, what the workers have listed."""
    used = {users.QUEUE, queries.CATALOGUE_QUEUE, queries.STREAMS_QUEUE}
    used |= {query.queue for query in context.catalogue.listed()}
    return used | {kind.queue for kind in context.kinds.listed()}


def _once(kinds: Catalogue[JobKind], name: str) -> bool | None:
    kind = kinds.known(name)
    return None if kind is None else kind.once


def _nobody() -> None: ...
