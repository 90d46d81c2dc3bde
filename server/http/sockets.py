"""WebSockets: https://www.rfc-editor.org/rfc/rfc6455."""

import base64
import binascii

from tornado.web import Finish, HTTPError
from tornado.websocket import WebSocketHandler

from server.http.handler import BaseHandler

_PING_INTERVAL = 15.0  # seconds, in which the other side has to answer
_MAX_COMMAND = 4096  # bytes of a message of a client
_VERSION = "13"
GOING_AWAY, LEASE_OVER, BAD_COMMAND, TRY_AGAIN, KEY_ENDED = 1001, 4408, 4400, 1013, 4401


class SocketHandler(BaseHandler, WebSocketHandler):
    """Base of the routes that speak WebSocket: a request until the connection is open, and none from then on."""

    SUPPORTED_METHODS = ("GET",)
    ping_interval = ping_timeout = _PING_INTERVAL
    max_message_size = _MAX_COMMAND

    def check_upgrade(self) -> None:
        """Raises HTTPError for what Tornado would refuse later, when something was done for the client already.

        426 when it wants no WebSocket, or another version, 403 for a page of another origin, 400 for half a handshake.
        """
        headers = self.request.headers
        if headers.get("Upgrade", "").lower() != "websocket":
            self.set_sticky_header("Upgrade", "websocket")
            raise HTTPError(426, "A WebSocket is expected.")
        if headers.get("Sec-WebSocket-Version") != _VERSION:
            self.set_sticky_header("Sec-WebSocket-Version", _VERSION)
            raise HTTPError(426, f"Version {_VERSION} is expected.")
        if self.is_of_another_site:
            raise HTTPError(403, "A page of another origin opens no WebSocket.")
        connection = {option.strip().lower() for option in headers.get("Connection", "").split(",")}
        if "upgrade" not in connection or not _is_key(headers.get("Sec-WebSocket-Key", "")) or "Host" not in headers:
            raise HTTPError(400, "A whole handshake is expected.")

    def check_origin(self, origin: str) -> bool:
        """As check_upgrade(), which comes first."""
        return not self.is_of_another_site

    def close_behind(self) -> None:
        """A WebSocket ends by itself; its handshake would have no `Connection: Upgrade` any more."""

    def on_connection_close(self) -> None:
        self.leave()
        self._end(Finish())
        WebSocketHandler.on_connection_close(self)


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (ValueError, binascii.Error):
        return False
