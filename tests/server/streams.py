"""A listener whose streams are seen."""

from typing import Any

from tornado.iostream import IOStream

from server.http.listener import Listener


class Streams(Listener):
    """Notes the streams of its connections.

    Attributes:
        streams: one for each connection that is served, in order.
    """

    def initialize(self, *args: Any, **options: Any) -> None:
        super().initialize(*args, **options)
        self.streams: list[IOStream] = []

    def handle_stream(self, stream: IOStream, address: Any) -> Any:
        self.streams.append(stream)
        return super().handle_stream(stream, address)
