"""Logs without keys, whoever writes them: Tornado repeats what it cannot read of a request."""

import logging

from server.keys.token import without_secrets


class Redaction(logging.Filter):
    """Leaves nothing of keys in the lines of a handler but their ids."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True, for each line."""
        if "nwt_" in (text := record.getMessage()):
            record.msg, record.args = without_secrets(text), None
        return True
