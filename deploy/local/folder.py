"""The folder that one local stack owns, and the lock that keeps a second one out of it."""

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from deploy.local.errors import LocalError

_PATIENCE = 20.0  # seconds; a stack that was told to stop needs half of that


@contextlib.contextmanager
def owned(folder: Path, waiting: Callable[[str], None] = print) -> Iterator[Path]:
    """Hold `folder` for as long as the context lasts; it is made if need be.

    The lock goes with this process, however that ends. One that is held is waited for, since a
    stack that was just stopped may still be at it.

    Args:
        folder: the folder.
        waiting: is told, once, that the lock is held.

    Raises LocalError when it is still held after 20 seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _PATIENCE
    told = False
    with (folder / "lock").open("a+") as file:
        while True:
            try:
                # POSIX locks are not inherited by children: none of them can keep it.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if not told:
                    waiting(f"{folder} is in use by another run, waiting for it to end")
                    told = True
                if time.monotonic() > deadline:
                    raise LocalError(
                        f"{folder} is in use by another run of this checkout: stop that one first (Ctrl-C there)"
                    ) from None
                time.sleep(0.1)
        yield folder
