"""What stays out of the log, whoever writes it: keys, and more lines than anybody reads."""

import logging
import time
from collections.abc import Callable

from server.keys.token import without_secrets

# Those that strangers can have written: Tornado's about what it cannot read, and about handshakes of TLS; those about
# what is refused, or closed, in a flood; and OpenTelemetry's about headers of traces.
SPARED = (
    "tornado.general", "server.http.admission", "server.http.access_log.refused", "server.http.waits",
    "server.http.listener", "opentelemetry.trace.span", "opentelemetry.trace.propagation.tracecontext",
)  # fmt: skip
_MOST = 5  # lines of each that a second has
_LONGEST = 1000  # characters of what one of them is about: Tornado repeats a header of a megabyte as four of them


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
        try:
            line = self._formatter.format(record)
        except Exception as error:
            # What logging would print of it has all that was to be in the line.
            reason = type(error).__name__
            line = self._formatter.format(
                logging.LogRecord(
                    record.name, logging.ERROR, record.pathname, record.lineno, "no line: %s", (reason,), None
                )
            )
        return without_secrets(line)


class Sparing(logging.Filter):
    """Leaves out the lines of a logger of which a second has too many; the next one has how many these were.

    Of a long one, the beginning is written.

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
        try:
            text = record.getMessage()
        except Exception:
            return True  # whoever makes the line finds out
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]}…"
        if self._left_out:
            text = f"{text} ({self._left_out} lines before were left out)"
            self._left_out = 0
        record.msg, record.args = text, None
        return True
