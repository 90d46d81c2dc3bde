"""What Schemathesis cannot know of the formats that the document names."""

import base64
import re

import schemathesis
from hypothesis import strategies as st

from server.http.preconditions import PATTERN

_CRON = ["*/5 * * * *", "0 6 * * 1-5", "30 4 1 * *", "0 0 29 2 *", "59 23 L * *"]
_IDS = st.uuids().map(str)


def _cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


schemathesis.openapi.format("cron", st.sampled_from(_CRON))
schemathesis.openapi.format("time-zone", st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]))
# An id is a name that a schedule may have, too.
schemathesis.openapi.format("cursor", _IDS.map(_cursor))


@schemathesis.hook
def filter_case(_: object, case: schemathesis.Case) -> bool:
    """False for a header that was made to look valid and is not: where letters and digits alone will not do."""
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    tags = [case.headers.get(name) for name in ("If-Match", "If-None-Match")] if case.headers else []
    return not (positive and any(tag is not None and not re.fullmatch(PATTERN, tag) for tag in tags))


# Of any answer: what HTTP and browsers make of it.
_OF_ANY = {
    "cache-control", "connection", "content-encoding", "content-length", "content-security-policy", "content-type",
    "cross-origin-opener-policy", "cross-origin-resource-policy", "date", "referrer-policy", "sec-websocket-version",
    "transfer-encoding", "upgrade", "vary", "x-accel-buffering", "x-content-type-options",
}  # fmt: skip


@schemathesis.check
def every_header_is_declared(_: object, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """Fails for a header of an answer that the document has not."""
    document = case.operation.schema.raw_schema
    declared = case.operation.definition.raw["responses"].get(str(response.status_code))
    if declared is None:
        return  # another check's
    if "$ref" in declared:
        declared = document["components"]["responses"][declared["$ref"].rpartition("/")[2]]
    known = {name.lower() for name in declared.get("headers", {})} | _OF_ANY
    unknown = {name.lower() for name in response.headers} - known
    assert not unknown, f"not declared: {', '.join(sorted(unknown))}"
