"""When the time of a task's call is over."""

from datetime import datetime, timezone
from typing import Any

from celery.utils.time import maybe_iso8601


def remaining(request: Any) -> float | None:
    """Seconds until nobody waits for the task any more, negative afterwards; None for never.

    Args:
        request: a task's `request`; its `expires` is the message's header: ISO 8601, or None.

    The clocks of the hosts are to agree, as for Celery's own `expires`.
    """
    expires = request.expires
    if not expires:
        return None
    moment: Any = maybe_iso8601(expires)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return float((moment - datetime.now(timezone.utc)).total_seconds())
