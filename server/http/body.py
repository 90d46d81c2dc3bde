"""The bodies of requests."""

import json
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError


def read_json(request: HTTPServerRequest) -> Any:
    """The JSON value of a body. Raises HTTPError 415 when it is not declared as one, and 400 when it is none."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPError(415, "application/json is expected.")
    try:
        return json.loads(request.body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise HTTPError(400, "The body is not JSON.") from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
