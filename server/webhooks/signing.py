"""Secrets, and the headers that show a receiver who has sent a webhook. No I/O."""

import base64
import binascii
import secrets
from collections.abc import Sequence
from datetime import datetime, timezone

from standardwebhooks import Webhook

_PREFIX = "whsec_"
_LENGTHS = range(24, 65)  # bytes
_FRESH = 32  # bytes


def new_secret() -> str:
    """A fresh one."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_FRESH)).decode()


def parse_secrets(text: str) -> tuple[str, ...]:
    """One secret, or two that are separated by a comma. Raises ValueError, whose text repeats none of them."""
    found = tuple(each.strip() for each in text.split(","))
    if len(found) > 2 or not all(map(_is_secret, found)):
        raise ValueError("'…' is not allowed, expected one or two of `python -m server.webhooks`, with a comma between")
    return found


def _is_secret(text: str) -> bool:
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return text.startswith(_PREFIX) and len(key) in _LENGTHS


class Signer:
    """Signs with all secrets, so that receivers may have any of them.

    Args:
        secrets: of parse_secrets().
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._webhooks = [Webhook(secret) for secret in secrets]

    def headers(self, message_id: str, sent: datetime, body: bytes) -> dict[str, str]:
        """The headers of a message.

        Args:
            message_id: without a full stop.
            sent: with a time zone.
            body: UTF-8.
        """
        # The package takes the clock's figures for those of UTC, whatever the zone.
        moment, text = sent.astimezone(timezone.utc), body.decode()
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": " ".join(webhook.sign(message_id, moment, text) for webhook in self._webhooks),
        }
