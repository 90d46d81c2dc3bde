"""How many files and connections a process may have open."""

import logging
import resource

log = logging.getLogger(__name__)

_OTHERS = 64  # descriptors for all but the connections of clients: broker, database, webhooks, log


def raise_limit() -> int:
    """Have this process open as many files as the system lets it, and return how many those are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connections(most: int) -> int:
    """How many connections of clients there may be, as many as wanted at most; those are fewer where files are few."""
    limit = raise_limit()
    if limit == resource.RLIM_INFINITY or most <= limit - _OTHERS:
        return most
    fewer = max(1, limit - _OTHERS)
    log.warning("at most %d connections, as no more than %d files may be open", fewer, limit)
    return fewer
