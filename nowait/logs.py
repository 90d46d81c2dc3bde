"""The lines of the log: text, or a JSON object each, as NOWAIT_LOG_FORMAT has it."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from nowait import tracing


def no_fields() -> Mapping[str, str]:
    """Nothing besides."""
    return {}


# What a terminal obeys, or takes for the end of a line; but a line break and a tab.
_CONTROLS = (*range(9), *range(11, 32), *range(127, 160), 0x2028, 0x2029)
_ESCAPED = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in _CONTROLS}


class JsonFormatter(logging.Formatter):
    """Makes one object, on one line, of each record: whoever has sent what is in it, it is escaped.

    What else a record has stays out, as there are results of tasks among it, but for a mapping that was logged with
    `extra={"fields": …}`.

    Args:
        fields: gives what each line has besides.
    """

    def __init__(self, fields: Callable[[], Mapping[str, str]] = no_fields) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """As Formatter.format()."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **_trace(),
            **self._fields(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = record.stack_info
        if isinstance(given := getattr(record, "fields", None), Mapping):
            for name, value in given.items():
                line.setdefault(str(name), value)
        return json.dumps(line, default=repr)


class TextFormatter(logging.Formatter):
    """Time, level, name and message, of which control characters are escaped; the trace, where there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s%(trace)s")

    def format(self, record: logging.LogRecord) -> str:
        """As Formatter.format()."""
        trace_id = tracing.current().trace_id
        record.trace = f" [trace {trace_id}]" if trace_id else ""
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """As Formatter.formatMessage()."""
        record.message = record.message.translate(_ESCAPED)
        return super().formatMessage(record)


def _trace() -> dict[str, str]:
    span = tracing.current()
    return {"trace_id": span.trace_id, "span_id": span.span_id} if span.trace_id else {}
