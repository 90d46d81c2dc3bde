"""Memory that is no longer needed, in a process that lives for long."""

import ctypes
import gc
import time
from collections.abc import Callable
from typing import Any

_PAUSE = 60.0  # seconds, at least, from one time that memory is given back to the next

# https://man7.org/linux/man-pages/man3/malloc_trim.3.html, mallopt.3.html: glibc has these, other libraries have none.
_libc = ctypes.CDLL(None)
_malloc_trim, _mallopt = (getattr(_libc, name, None) for name in ("malloc_trim", "mallopt"))
_M_ARENA_MAX = -8  # malloc.h


def spare(new: int, middle: int, old: int) -> None:
    """Have Python's garbage collector look at what comes from now on alone. Called once, when all is imported.

    What was imported stays: a full collection would stop the process for 10 ms to look at it. As Python begins one when
    a quarter is new, it would also come after hours, and what cycles hold, those of lost connections for example, would
    add up until then.

    What is free behind a full collection goes back to the system, at most once in a minute, in about a millisecond:
    such pieces between what stays would add up by megabytes an hour. They would in the memory of each thread, so that
    all threads have one from now on: as Python runs one at a time, they hardly wait for each other.

    Args:
        new, middle, old: the thresholds of the three generations, see gc.set_threshold().
    """
    gc.collect()
    gc.freeze()
    # The quarter is one of what the last full collection has left.
    gc.collect()
    gc.set_threshold(new, middle, old)
    if _mallopt is not None:
        _mallopt(_M_ARENA_MAX, 1)
    if _malloc_trim is not None:
        gc.callbacks.append(_giving_back(_malloc_trim))


def _giving_back(trim: Callable[[int], Any]) -> Callable[[str, dict[str, int]], None]:
    """What the collector is to call; see gc.callbacks."""
    last = time.monotonic()

    def collected(phase: str, info: dict[str, int]) -> None:
        nonlocal last
        if phase == "stop" and info["generation"] == 2 and (now := time.monotonic()) >= last + _PAUSE:
            last = now
            trim(0)

    return collected
