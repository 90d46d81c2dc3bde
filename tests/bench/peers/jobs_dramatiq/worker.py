"""A dramatiq worker over RabbitMQ, with its results in Redis: `dramatiq worker --processes 1 --threads 8`."""

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

broker = RabbitmqBroker(url=os.environ["NOWAIT_BROKER_URL"].rstrip("/"))  # pika takes "//" for no vhost
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["REDIS_URL"])))
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=os.environ["QUEUE"], store_results=True)
def nothing() -> int:
    """Returns."""
    return 1
