"""The bodies of requests."""

import json
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

from server import strict_json

_BOM = b"\xef\xbb\xbf"


def read_json(request: HTTPServerRequest) -> Any:
    """The JSON value of a body. Raises HTTPError 415 when it is not declared as one, and 400 when it is none."""
    _check_type(request)
    return _value(request.body, json.detect_encoding(request.body), "surrogatepass")  # as json.loads


def read_json_line(request: HTTPServerRequest, limit: int) -> bytes:
    """The JSON value of a body as it was sent, in UTF-8 and on one line. Raises as read_json(), and 413 above `limit`.

    Outside of its texts, JSON has line breaks only where it may as well have blanks.
    """
    if len(request.body) > limit:
        raise HTTPError(413, f"A message has at most {limit} bytes.")
    _check_type(request)
    body = request.body.removeprefix(_BOM)
    _value(body, "utf-8", "strict")
    return body.replace(b"\r", b" ").replace(b"\n", b" ").strip()


def _check_type(request: HTTPServerRequest) -> None:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPError(415, "application/json is expected.")


def _value(body: bytes, encoding: str, errors: str) -> Any:
    try:
        return strict_json.loads(body.decode(encoding, errors))
    except ValueError as error:
        raise HTTPError(400, "The body is not JSON in UTF-8.") from error
