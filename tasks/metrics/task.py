"""Tasks that have their ends seen. By a signal of Celery's, each would cost three times as much."""

import time
from collections.abc import Callable
from typing import Any

from nowait.worker.backend import TimedTask

Ended = Callable[[str, str, Any, float], None]


class MeasuredTask(TimedTask):
    """The base of all tasks of an application whose workers are measured.

    Attributes:
        ended: gets the name of a task, the state of Celery's that it has ended in, what it returned, and the seconds
            that it ran; None while nobody does.
    """

    ended: Ended | None = None

    def after_return(self, status: str, retval: Any, *_: Any) -> None:
        """Called by the worker at the end of each run."""
        # Not by the instance: a function there were one of its methods.
        ended = type(self).ended
        # What `request` gives, for half of what it takes.
        began = getattr(self.request_stack.top, "began", None)
        if ended is not None and began is not None:
            ended(self.name, status, retval, time.perf_counter() - began)

    def on_retry(self, exc: Exception, *_: Any) -> None:
        """Called by the worker in place of that, when the task is to run again."""
        self.after_return("RETRY", None)
