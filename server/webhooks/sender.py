"""Sends messages to receivers, each within its time, to no address that is refused, and reads little of the answers."""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from datetime import datetime, timezone

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import HTTPTimeoutError, SimpleAsyncHTTPClient

from server.webhooks import outcome
from server.webhooks.outcome import Outcome
from server.webhooks.resolver import AddressRefused, GuardedResolver
from server.webhooks.signing import Signer
from server.webhooks.slots import TOTAL

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT = 5.0  # seconds, the lookup of the name and TLS included
_TIMEOUT = 15.0  # seconds for all of it
_MAX_ANSWER = 64 * 1024  # bytes of a body, and of headers
_USER_AGENT = "Nowait-Webhooks"
_NO_HEADERS: Mapping[str, str] = {}


class Sender:
    """The HTTP client.

    Args:
        resolver: refuses addresses.
        signer: signs the messages.
        tls: what certificates are checked by; None for the CAs of this machine, or those of SSL_CERT_FILE.
    """

    def __init__(self, resolver: GuardedResolver, signer: Signer, tls: ssl.SSLContext | None = None) -> None:
        self._signer = signer
        self._tls = tls
        # More than there are slots: a connection ends a moment after its slot.
        self._client = SimpleAsyncHTTPClient(
            force_instance=True,
            resolver=resolver,
            max_clients=2 * TOTAL,
            max_buffer_size=4 * _MAX_ANSWER,
            max_header_size=_MAX_ANSWER,
            max_body_size=_MAX_ANSWER,
        )

    async def send(self, url: str, message_id: str, body: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> Outcome:
        """Send a message once, with these headers besides. What becomes of it raises nothing."""
        request = HTTPRequest(
            url,
            "POST",
            {**headers, "Content-Type": "application/json", **self._signer.headers(message_id, _now(), body)},
            body,
            connect_timeout=_CONNECT_TIMEOUT,
            request_timeout=_TIMEOUT,
            follow_redirects=False,
            decompress_response=False,
            user_agent=_USER_AGENT,
            ssl_options=self._tls,
        )
        fetched = self._client.fetch(request, raise_error=False)
        # Shielded, as Tornado logs what comes of a future that was cancelled.
        fetched.add_done_callback(lambda future: future.exception())
        try:
            response = await asyncio.shield(fetched)
        except Exception as error:
            return Outcome(_kind(error))
        return Outcome.of_status(response.code, response.headers.get("Retry-After"), _now())

    def close(self) -> None:
        """Let go of the client."""
        self._client.close()


def _kind(error: Exception) -> str:
    if isinstance(error, HTTPTimeoutError):
        return outcome.TIMEOUT
    if isinstance(error, AddressRefused):
        return outcome.ADDRESS_REFUSED
    if isinstance(error, ssl.SSLError):
        return outcome.TLS
    if isinstance(error, OSError):
        return outcome.UNREACHABLE
    if isinstance(error, HTTPClientError):
        return outcome.BROKEN
    log.error("a webhook could not be sent", exc_info=error)
    return outcome.ERROR


def _now() -> datetime:
    return datetime.now(timezone.utc)
