"""Events of tasks, for Flower and other monitors."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any


class TaskEvents:
    """Sends them by the thread of Celery's event loop: in their order, whichever threads they come from.

    Stands where Celery's requests expect its `celery.events.EventDispatcher`, which gets them on that thread, and
    sends many in one message.

    Args:
        dispatcher: returns Celery's; None while its connection is made.
        call_hub: has a function called by the thread of Celery's event loop.
    """

    def __init__(self, dispatcher: Callable[[], Any], call_hub: Callable[[Callable[[], None]], None]) -> None:
        self._dispatcher = dispatcher
        self._call_hub = call_hub
        self._enabled = False
        self._unsent: deque[tuple[str, dict[str, Any]]] = deque()
        self._flush_due = False

    @property
    def enabled(self) -> bool:
        """Somebody wants them: the worker was begun with `-E`, or a monitor has asked for them."""
        dispatcher = self._dispatcher()
        if dispatcher is not None:
            self._enabled = bool(dispatcher.enabled and (not dispatcher.groups or "task" in dispatcher.groups))
        return self._enabled

    def send(self, type: str, **fields: Any) -> None:
        """Send an event of this moment. May be called by any thread."""
        self._unsent.append((type, {"timestamp": time.time(), **fields}))
        if not self._flush_due:
            self._flush_due = True
            self._call_hub(self.flush)

    def flush(self) -> None:
        """Hand them to Celery; called by the thread of its event loop."""
        self._flush_due = False
        dispatcher = self._dispatcher()
        while dispatcher is not None and self._unsent:
            kind, fields = self._unsent.popleft()
            dispatcher.send(kind, **fields)
