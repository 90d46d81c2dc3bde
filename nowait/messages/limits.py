"""What a message may hold: checked before it is sent, and again by whoever receives it."""

MAX_TASK_BODY = 1024 * 1024  # bytes of a task's arguments, serialised
MAX_TASK_HEADERS = 64 * 1024  # bytes of its properties, application headers included
MAX_REPLY = 16 * 1024 * 1024  # bytes of a reply that Nowait's workers send
MAX_RECEIVED_REPLY = 32 * 1024 * 1024  # bytes of a reply that the bridge keeps, whoever sent it
MAX_PART = 256 * 1024  # bytes of a part of a stream
MAX_SHORT_STRING = 255  # bytes of an id, a name of a task or a queue

# Seconds that a message may have to live: RabbitMQ counts its milliseconds in 32 bits
# (https://www.rabbitmq.com/docs/ttl), and refuses more by closing the channel.
MAX_LIFETIME = 4_000_000
