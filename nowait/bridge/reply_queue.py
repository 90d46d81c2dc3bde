"""The queue that the replies of one bridge come to."""

from uuid import uuid4

import amqp

_EXPIRES = 300_000  # milliseconds without a consumer, after which the broker deletes it
_TIMEOUTS = 2  # declarations in a row without an answer, after which the name is given up


class ReplyQueue:
    """Durable, and kept for minutes without a consumer: replies outlive a lost connection.

    Args:
        name: its name, at first.
        exchange: an exchange that replies come through, by the queue's name; "" for the default one.

    Attributes:
        name: its name, since it was declared last.
    """

    def __init__(self, name: str, exchange: str) -> None:
        self.name = self._name = name
        self._exchange = exchange
        self._timeouts = 0

    def declare(self, channel: amqp.Channel) -> None:
        """Declare it. Blocks; raises what py-amqp does, and then has another name the next time where that may help."""
        try:
            channel.queue_declare(self.name, durable=True, auto_delete=False, arguments={"x-expires": _EXPIRES})
        except (amqp.exceptions.ChannelError, TimeoutError) as error:
            # In a cluster, the queue may be on a node that is down, and its name with it: RabbitMQ 3 refuses to declare
            # it, RabbitMQ 4 does not answer until the node is back. A broker that is slow, once, still has the replies.
            self._timeouts += isinstance(error, TimeoutError)
            if self._timeouts == _TIMEOUTS or not isinstance(error, TimeoutError):
                self.name, self._timeouts = f"{self._name}.{uuid4().hex[:8]}", 0
            raise
        self._timeouts = 0
        if self._exchange:
            channel.queue_bind(self.name, self._exchange, routing_key=self.name)
