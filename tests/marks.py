"""Marks in the environment, which all processes that are started below inherit: none can hide."""

from uuid import uuid4

import psutil

NAME = "NOWAIT_TEST_MARK"


def new() -> str:
    """The value of a new mark."""
    return uuid4().hex


def carriers(mark: str) -> list[str]:
    """The names of the processes that carry a mark and have not ended."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(NAME) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.name())
        except psutil.Error:
            continue  # it ended, or is the kernel's
    return found
