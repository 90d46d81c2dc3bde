"""The headers `Accept` and `Accept-Encoding` (RFC 9110, 12.5)."""

import re
from collections.abc import Iterator, Sequence

_LONGEST = 512  # characters; a longer header decides nothing, as reading one could take its square
# A media range, and the parameters behind it up to the next comma; commas in quotes do not count.
_RANGE = re.compile(r'\s*([^\s;,/"]+)/([^\s;,/"]+)\s*((?:;(?:[^,"]|"(?:[^"\\]|\\.)*")*)?)(?:,|$)')
_QUALITY = re.compile(r";\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*(?:;|$)", re.IGNORECASE)


_CODING = re.compile(r"\s*([A-Za-z0-9*-]+)\s*((?:;[^,]*)?)(?:,|$)")


def takes_gzip(header: str) -> bool:
    """True for a client that takes gzip.

    Args:
        header: all values of its `Accept-Encoding`, joined by commas; "" for none.
    """
    found = {name.lower(): _QUALITY.search(parameters) for name, parameters in _CODING.findall(header[:_LONGEST])}
    for name in ("gzip", "*"):
        if name in found:
            quality = found[name]
            return quality is None or float(quality[1]) > 0
    return False


def preferred(header: str, offered: Sequence[str]) -> str:
    """The media type that a client would rather have.

    Args:
        header: all of its values, joined by commas; "" for none.
        offered: media types in lower case, without parameters; the first is taken where the header decides nothing.

    Of the quality of a type the most specific range decides that names it; of equal ones the type counts that is named
    most specifically, and then the one that is offered first. Parameters other than the quality are ignored, as are
    ranges that cannot be read.
    """
    ranges = list(_ranges(header)) if len(header) <= _LONGEST else []
    best, chosen = (0.0, 0), offered[0]
    for media_type in offered:
        matching = [(specific, quality) for name, specific, quality in ranges if _matches(name, media_type)]
        specific, quality = max(matching, default=(0, 0.0))
        if quality and (quality, specific) > best:
            best, chosen = (quality, specific), media_type
    return chosen


def _ranges(header: str) -> Iterator[tuple[str, int, float]]:
    """Each range in lower case, how specific it is, from 1 to 3, and its quality."""
    for kind, subtype, parameters in _RANGE.findall(header):
        specific = 1 + (kind != "*") + (subtype != "*")
        quality = _QUALITY.search(parameters)
        yield f"{kind}/{subtype}".lower(), specific, min(1.0, float(quality.group(1))) if quality else 1.0


def _matches(name: str, media_type: str) -> bool:
    return name in ("*/*", media_type) or name == f"{media_type.partition('/')[0]}/*"
