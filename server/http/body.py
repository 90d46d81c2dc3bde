"""The bodies of requests."""

from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

from server import strict_json

_BOM = b"\xef\xbb\xbf"


def read_json(request: HTTPServerRequest) -> Any:
    """The JSON value of a body. Raises HTTPError 415 when it is not declared as one, and 400 when it is none."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPError(415, "application/json is expected.")
    try:
        return strict_json.loads(request.body)
    except ValueError as error:
        raise HTTPError(400, "The body is not JSON.") from error


def read_json_line(request: HTTPServerRequest, limit: int) -> bytes:
    """The JSON value of a body as it was sent, in UTF-8 and on one line. Raises as read_json(), and 413 above `limit`.

    Outside of its texts, JSON has line breaks only where it may as well have blanks.
    """
    if len(request.body) > limit:
        raise HTTPError(413, f"A message has at most {limit} bytes.")
    read_json(request)
    try:
        if b"\0" in request.body.removeprefix(_BOM):  # UTF-16, or UTF-32
            raise ValueError("not UTF-8")
        request.body.decode("utf-8")
    except ValueError as error:
        raise HTTPError(400, "The body is not in UTF-8.") from error
    return bytes(request.body).removeprefix(_BOM).replace(b"\r", b" ").replace(b"\n", b" ").strip()
