"""The ids of jobs."""

import secrets
import time
from uuid import UUID

# Version and variant; the first 48 bits are the time, all others random: RFC 9562, 5.7.
_MARKS = 0x7 << 76 | 0b10 << 62
_RANDOM = (1 << 76) - 1 & ~(0b11 << 62)


def new_id(milliseconds: int | None = None) -> str:
    """A UUID of version 7: in the order of their text, ids are in that of the milliseconds of their creation.

    Args:
        milliseconds: of Unix time; None for this host's clock.
    """
    if milliseconds is None:
        milliseconds = time.time_ns() // 1_000_000
    return str(UUID(int=milliseconds << 80 | _MARKS | secrets.randbits(76) & _RANDOM))
