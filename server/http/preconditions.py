"""The headers `If-Match` and `If-None-Match` of requests that change something (RFC 9110, 13.1). No I/O."""

import re
from dataclasses import dataclass

_TAG = r'(?:W/)?("[!#-~]*")'
PATTERN = r'(\*|(W/)?"[!#-~]*"([ \t]*,[ \t]*(W/)?"[!#-~]*")*)'
"""Of the value of such a header."""


@dataclass(frozen=True)
class Preconditions:
    """What has to hold.

    Attributes:
        match: tags of which the resource has to have one; empty for any resource; None for none needed.
        none_match: tags of which it must have none; empty for no resource at all; None for any.
    """

    match: frozenset[str] | None
    none_match: frozenset[str] | None

    @classmethod
    def of_headers(cls, match: list[str], none_match: list[str]) -> "Preconditions":
        """Of the values of both headers. Raises ValueError with what is expected."""
        return cls(_tags("If-Match", match), _tags("If-None-Match", none_match))

    def hold(self, etag: str | None) -> bool:
        """Do they, for a resource with this tag; None where there is no resource?"""
        if self.match is not None and (etag is None or self.match and etag not in self.match):
            return False
        return self.none_match is None or etag is None or bool(self.none_match) and etag not in self.none_match


def _tags(header: str, values: list[str]) -> frozenset[str] | None:
    if not values:
        return None
    given = ",".join(values)
    if not re.fullmatch(PATTERN, given):
        raise ValueError(f"{header}: * or what ETag was is expected.")
    # A weak one is as good, also where RFC 9110 has it otherwise: what is defined by a client is the same then.
    return frozenset(re.findall(_TAG, given))
