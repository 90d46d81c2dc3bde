"""WebSockets: https://www.rfc-editor.org/rfc/rfc6455."""

from tornado.web import Finish, HTTPError
from tornado.websocket import WebSocketHandler

from server.http.handler import BaseHandler
from server.http.sites import is_of_another_origin

_PING_INTERVAL = 15.0  # seconds, in which the other side has to answer
_MAX_COMMAND = 4096  # bytes of a message of a client
GOING_AWAY, LEASE_OVER, BAD_COMMAND, TRY_AGAIN = 1001, 4408, 4400, 1013


class SocketHandler(BaseHandler, WebSocketHandler):
    """Base of the routes that speak WebSocket: a request until the connection is open, and none from then on."""

    ping_interval = ping_timeout = _PING_INTERVAL
    max_message_size = _MAX_COMMAND

    def check_upgrade(self) -> None:
        """Raises HTTPError 426 when the client does not want a WebSocket, and 403 when it is a page of another origin.

        Tornado looks for itself, but only once there is something to upgrade to.
        """
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            self.set_sticky_header("Upgrade", "websocket")
            raise HTTPError(426, "A WebSocket is expected.")
        if is_of_another_origin(self.request.headers, self.context.origins):
            raise HTTPError(403, "A page of another origin opens no WebSocket.")

    def check_origin(self, origin: str) -> bool:
        """True: check_upgrade() has looked."""
        return True

    def on_connection_close(self) -> None:
        WebSocketHandler.on_connection_close(self)
        self.leave()
        self._end(Finish())
