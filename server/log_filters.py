"""What stays out of the log, whoever writes it: keys, and more lines than anybody reads."""

import logging
import time
from collections.abc import Callable

from server.keys.token import without_secrets

# Those that strangers can have written: Tornado's about what it cannot read, and about handshakes of TLS; and those
# about what is refused, or closed, in a flood.
SPARED = (
    "tornado.general", "server.http.admission", "server.http.access_log.refused", "server.http.waits",
    "server.http.listener",
)  # fmt: skip
_MOST = 5  # lines of each that a second has


class Redaction(logging.Formatter):
    """Leaves nothing of keys in the lines of another formatter but their ids: Tornado repeats what it cannot read.

    In all of a line: a traceback may have one as well.

    Args:
        formatter: makes the lines.
    """

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        """As Formatter.format()."""
        return without_secrets(self._formatter.format(record))


class Sparing(logging.Filter):
    """Leaves out the lines of a logger of which a second has too many; the next one has how many these were.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._second = self._written = self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a line that is left out."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._written = second, 0
        if self._written >= _MOST:
            self._left_out += 1
            return False
        self._written += 1
        if self._left_out:
            record.msg, record.args = f"{record.getMessage()} ({self._left_out} lines before were left out)", None
            self._left_out = 0
        return True
