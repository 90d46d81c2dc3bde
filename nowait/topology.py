"""What servers, workers and broker agree on: exchanges, queues, users. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from kombu import Exchange, Queue


@dataclass(frozen=True)
class Topology:
    """Where messages are published to and who publishes them.

    Attributes:
        declares: workers declare their queues; False where the broker has them already.
        queue_type: the type of the queues of tasks, "classic" or "quorum": Celery has to know the second, whose
            prefetch counts are for each queue by itself.
        tasks: the exchange that takes tasks, by the name of their queue; "" for what the application's own routes say.
        replies: the exchange that takes replies, by the name of their queue; "" for the default one.
        streams: the exchange that takes parts of streams, by the name of their queue; "" for the default one.
        topics: the exchange that takes messages of topics, by the topic's name; "" for the default one, by the name of
            the log.
        topic_log: the stream that has the messages of all topics.
        messages: the exchange that takes messages that are no tasks, by their queue's name; "" for the default one.
        dead_letters: the exchange that takes rejected messages, by the name of their queue; "" for the default one.
        dead_letter_queue: the queue of rejected messages.
        server_user: the broker's user that tasks have to come from, in `user_id`, which the broker
            verifies; None for anybody's.
        worker_user: the same for replies and rejected messages.
    """

    declares: bool = True
    queue_type: str = "classic"
    tasks: str = ""
    replies: str = ""
    streams: str = ""
    topics: str = ""
    topic_log: str = "topics.log"
    messages: str = ""
    dead_letters: str = ""
    dead_letter_queue: str = "queries.dead"
    server_user: str | None = None
    worker_user: str | None = None

    @classmethod
    def declared(cls) -> "Topology":
        """A broker that knows nothing of Nowait: workers declare what they need."""
        return cls()

    @classmethod
    def provisioned(cls) -> "Topology":
        """A broker with the definitions of deploy/broker/definitions.json, and least privilege for both users."""
        names = ("tasks", "replies", "streams", "topics", "messages")
        exchanges = {**{name: name for name in names}, "dead_letters": "dead"}
        return cls(declares=False, **exchanges, server_user="server", worker_user="worker")

    @classmethod
    def clustered(cls) -> "Topology":
        """The same on a cluster of brokers, by deploy/broker/definitions.py: tasks are in quorum queues."""
        return replace(cls.provisioned(), queue_type="quorum")

    @classmethod
    def named(cls, name: str) -> "Topology":
        """declared(), provisioned() or clustered(), by name, as in NOWAIT_TOPOLOGY."""
        makers = {"provisioned": cls.provisioned, "clustered": cls.clustered}
        return makers.get(name, cls.declared)()

    def queues(self, names: Iterable[str]) -> list[Queue]:
        """The queues of these names, as workers consume them."""
        options: dict[str, Any] = {"no_declare": None if self.declares else True}
        if self.queue_type != "classic":
            options["queue_arguments"] = {"x-queue-type": self.queue_type}
        return [Queue(name, Exchange(name), routing_key=name, **options) for name in sorted(names)]

    def routed(self, options: dict[str, Any], default_queue: str) -> dict[str, Any]:
        """The options of `Celery.send_task` that publish a task to the exchange `tasks`, from `server_user`."""
        queue = options.get("queue", default_queue)
        others = {name: value for name, value in options.items() if name != "queue"}
        sender = {} if self.server_user is None else {"user_id": self.server_user}
        return {"exchange": self.tasks, "routing_key": queue, **others, **sender}

    @property
    def topic_log_arguments(self) -> dict[str, Any]:
        """The arguments of the topic log. What is old goes in whole segments, once a further one is begun."""
        return {
            "x-queue-type": "stream",
            "x-max-age": "7D",
            "x-max-length-bytes": 1024 * 1024 * 1024,
            "x-stream-max-segment-size-bytes": 64 * 1024 * 1024,
        }

    @staticmethod
    def bounded_arguments(length: int) -> dict[str, Any]:
        """The arguments of a queue in which so many messages may wait: it refuses what is more."""
        # Version 2 of classic queues, which RabbitMQ 4 has anyway, takes messages faster.
        return {"x-max-length": length, "x-overflow": "reject-publish", "x-queue-version": 2}

    @property
    def dead_letter_arguments(self) -> dict[str, Any]:
        """The arguments of the dead-letter queue: above 100 MiB the oldest messages are dropped."""
        return {"x-max-length-bytes": 100 * 1024 * 1024, "x-overflow": "drop-head"}

    def sender_properties(self) -> dict[str, str]:
        """The properties of a worker's message that name its sender; the broker refuses a false one."""
        return {} if self.worker_user is None else {"user_id": self.worker_user}
