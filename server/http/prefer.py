"""The header `Prefer` (RFC 7240)."""

import re

# preference = token [ "=" word ] *( ";" parameter ), separated by commas (RFC 7240, 2).
_WAIT = re.compile(r'(?:^|,)\s*wait\s*=\s*"?([0-9]{1,9}(?:\.[0-9]{1,9})?)"?\s*(?=[;,]|$)', re.IGNORECASE)
_RESPOND_ASYNC = re.compile(r"(?:^|,)\s*respond-async\s*(?=[;,]|$)", re.IGNORECASE)


def wait(header: str) -> float | None:
    """The seconds of the preference `wait`, the first if there are several.

    None when there is no such preference or its value is no number: a preference that cannot
    be understood is ignored, as the RFC demands. Fractions are taken too.
    """
    match = _WAIT.search(header)
    return float(match.group(1)) if match else None


def respond_async(header: str) -> bool:
    """True with the preference for an answer that comes before what is asked for is done."""
    return _RESPOND_ASYNC.search(header) is not None
