"""A consumer whose check fails, in a way that nobody has thought of, at the messages that say so."""

from kombu import Message

from nowait.worker import Consumer


class BrittleConsumer(Consumer):
    """As Nowait's, until there is a header `x-fails`."""

    def validate(self, message: Message) -> None:
        """Raise AttributeError for a message with that header."""
        super().validate(message)
        if "x-fails" in (message.headers or {}):
            raise AttributeError("of the check")
