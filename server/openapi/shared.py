"""What the operations of several routes have in common. No I/O."""

from server.http.pages import LIMIT, MAX_LIMIT
from server.http.preconditions import PATTERN
from server.http.problem import TYPES
from server.openapi.operation import (
    JSON,
    Answer,
    Component,
    Operation,
    Parameter,
    Schema,
    header,
    json,
    members,
    nullable,
)

TEXT = {"type": "string"}
MOMENT = {"type": "string", "format": "date-time"}

PROBLEM = Component(
    "Problem",
    {
        "type": "object",
        "description": "RFC 9457. `type` is `about:blank`, where the status is enough, or one of: " + ", ".join(TYPES),
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "examples": ["about:blank", *TYPES]},
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": TEXT,
            "request_id": TEXT,
            "trace_id": {"type": "string", "description": "where there is one that is exported"},
            "violated-policies": {"type": "array", "items": TEXT, "description": "the limits of the key"},
        },
        "required": ["type", "title", "status", "detail", "request_id"],
    },
)

OFFSET = {"type": "string", "pattern": "^[0-9]{1,18}$"}  # of a message of a topic

REPLAYED = {"Idempotent-Replayed": "`true`: the answer to the first request with the key"}
RETRY_AFTER = {"Retry-After": "seconds, until another look makes sense"}  # of a job that has not ended

# The statuses of problems, by what a route needs.
TASK = (422, 500, 502, 503, 504)  # an answer of a worker
LIST = (500, 503, 504)  # a list of the workers
STORE = (503,)  # the database of the jobs
MESSAGE = (502, 503, 504)  # the broker

PREFER = header("Prefer", TEXT, "`wait=SECONDS` is the time that the request may take (RFC 7240)")
PREFER_NEWS = header("Prefer", TEXT, "`wait=SECONDS`: the answer may be held back so long for news of the job")
PREFER_ROOM = header("Prefer", TEXT, "`wait=SECONDS`: a queue that is full is tried again for so long")
# As it is, with the spaces at its ends being those of the header, or quoted, with none at its end.
_BARE, _QUOTED = r"[!#-~]([ -~]{0,253}[!-~])?", r'"([ !#-\[\]-~]|\\["\\]){0,254}([!#-\[\]-~]|\\["\\])"'
IDEMPOTENCY_KEY = header(
    "Idempotency-Key",
    {"type": "string", "pattern": f"^({_BARE}|{_QUOTED})$"},
    "of a request that may come again: the second one is answered as the first",
)
_TAGS = {"type": "string", "pattern": f"^{PATTERN}$", "examples": ["*", '"1.261126193000000000"']}
IF_MATCH = header("If-Match", _TAGS, "the ETag that what is changed has to have")
IF_NONE_MATCH = header("If-None-Match", _TAGS, "`*`: there must be none yet")
# Of lists that are answered in pages.
PAGE = [
    Parameter("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": LIMIT}, "how many, at most"),
    Parameter("cursor", {"type": "string", "format": "cursor"}, "what `next` of the page before was"),
]


def page(name: str, item: Schema) -> Answer:
    """A page of such items.

    Args:
        name: of the member with them.
        item: the schema of one.
    """
    listed = {name: {"type": "array", "items": item}, "next": nullable(TEXT)}
    return json("a page of them", members(listed), headers={"Link": "the URL of the next page, where there is one"})


def file_operation(
    id: str, path: str, summary: str, kind: str, *parameters: Parameter, known: bool = False
) -> Operation:
    """A file of a page.

    Args:
        id, path, summary, parameters, known: as those of Operation.
        kind: its media type.
    """
    answers = [
        Answer("the file", {kind: {"type": "object"} if kind == JSON else TEXT}, {"ETag": "its version"}),
        Answer("the client has it already", headers={"ETag": "its version"}, status=304),
    ]
    etag = header("If-None-Match", TEXT, "the ETag of the version that is there")
    return Operation(
        id, "GET", path, "pages", summary, answers, (*parameters, etag), problems=(404,), open=True, known=known
    )
