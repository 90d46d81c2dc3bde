"""The document, made of the operations. No I/O."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from http.client import responses
from typing import Any

from server.http.access import READING
from server.http.problem import CONTENT_TYPE
from server.openapi.offer import Offer
from server.openapi.operation import JSON, Answer, Component, Operation, Parameter
from server.openapi.shared import PROBLEM, TEXT

_VERSION = "3.1.1"
# What any request may be answered with: too large a body, a name that is another server's, too large headers.
_ANY = (413, 421, 431)
_ANOTHER_SITE = 403  # a page of one has sent it: a demo takes none of these, others none that would change something
_WITHOUT_KEY = (401, 403, 429)  # no key, none for that, or one that has used up what it may
_WRONG_KEY = (401, 429)  # none that is valid, where it needs none, or one that has used up what it may
_WRONG_TYPE = 415  # of a body
_WITH_RETRY_AFTER = (429, 503)
_RETRY_AFTER = {"description": "seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}}
# Headers that an answer may have, whatever the operation is: of keys that have limits, ...
_OF_LIMITS = {"RateLimit": "what is left of the key's limits", "RateLimit-Policy": "the limits of the key"}
_OF_PREFERENCES = {"Preference-Applied": "what was met of `Prefer`"}
_OF_TASKS = {"Server-Timing": "milliseconds: of all, in the queue, of the worker"}
_OF_DEMO = {"X-Process": "the server's process that has answered"}
_OF_TASKS_OF_DEMO = {"X-Worker": "the worker that has run the task"}
_KEY = "key"
_SCHEMES = {_KEY: {"type": "http", "scheme": "bearer", "description": "a key of this server"}}


def document(operations: Iterable[Operation], offer: Offer) -> dict[str, Any]:
    """The document.

    Args:
        operations: all of them.
        offer: what they were declared of.
    """
    components: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    groups: dict[str, None] = {}
    problems = {_WRONG_TYPE}
    for operation in operations:
        groups[operation.group] = None
        of_any = _of_any(operation, offer)
        problems |= {*operation.problems, *of_any}
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, of_any, offer)
    described = _referring(paths, components)
    answers = _referring({str(status): _problem(status, offer) for status in sorted(problems)}, components)
    made = {
        "openapi": _VERSION,
        "info": {
            "title": "Nowait",
            "version": "1",
            "description": "An HTTP server that never waits. HEAD is answered wherever GET is. Each answer has an"
            " `X-Request-Id`: the request's, or a new one. Errors are problem documents (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": group} for group in groups],
        "paths": described,
        "components": {"schemas": components, "responses": answers},
    }
    if offer.keys:
        made["security"] = [{_KEY: []}]
        made["components"]["securitySchemes"] = _SCHEMES
    return made


def _of_any(operation: Operation, offer: Offer) -> set[int]:
    """The statuses of problems that any such operation has."""
    found = {*_ANY}
    if offer.demo or operation.method not in READING:
        found.add(_ANOTHER_SITE)
    if offer.keys and not operation.open:
        found.update(_WITHOUT_KEY)
    if offer.keys and operation.known:
        found.update(_WRONG_KEY)
    return found


def _operation(operation: Operation, of_any: Iterable[int], offer: Offer) -> dict[str, Any]:
    headers = _headers_of_any(operation, offer)
    problems = sorted({*operation.problems, *of_any})
    made: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.group],
        "summary": operation.summary,
        "responses": {str(answer.status): _answer(answer, headers) for answer in operation.answers}
        | {str(status): _reference("responses", status) for status in problems},
    }
    if offer.keys and operation.open:
        made["security"] = [{}, {_KEY: []}] if operation.known else []
    scope = f"The key has to have the scope `{operation.scope}`." if offer.keys and operation.scope else ""
    if operation.description or scope:
        made["description"] = f"{operation.description} {scope}".strip()
    if operation.parameters:
        made["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body is not None:
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": operation.body}}}
        made["responses"][str(_WRONG_TYPE)] = _reference("responses", _WRONG_TYPE)
    return made


def _parameter(parameter: Parameter) -> dict[str, Any]:
    made = {"name": parameter.name, "in": parameter.place, "required": parameter.required, "schema": parameter.schema}
    return {**made, "description": parameter.description} if parameter.description else made


def _headers_of_any(operation: Operation, offer: Offer) -> dict[str, str]:
    """Those that any of its answers may have."""
    found: dict[str, str] = {}
    if offer.keys and (operation.known or not operation.open):
        found |= _OF_LIMITS
    if any(parameter.name == "Prefer" for parameter in operation.parameters):
        found |= _OF_PREFERENCES
    if operation.timed:
        found |= _OF_TASKS
    if offer.demo:
        found |= _OF_DEMO
    if offer.demo and operation.timed:
        found |= _OF_TASKS_OF_DEMO
    return found


def _answer(answer: Answer, headers: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": answer.description,
        "headers": {"X-Request-Id": _header("of the request, or a new one")}
        | {name: {"description": what, "schema": TEXT} for name, what in {**headers, **answer.headers}.items()},
    }
    if answer.content:
        made["content"] = {kind: {"schema": schema} for kind, schema in answer.content.items()}
    if answer.links:
        made["links"] = {
            name: {"operationId": following, "parameters": dict(parameters)}
            for name, (following, parameters) in answer.links.items()
        }
    return made


def _problem(status: int, offer: Offer) -> dict[str, Any]:
    headers = {"X-Request-Id": _header("of the request, or a new one")}
    # The operations share them: each may have what that of some has.
    some = _OF_PREFERENCES | _OF_TASKS | (_OF_LIMITS if offer.keys else {})
    some |= _OF_DEMO | _OF_TASKS_OF_DEMO if offer.demo else {}
    headers |= {name: {"description": what, "schema": TEXT} for name, what in some.items()}
    if status in _WITH_RETRY_AFTER:
        headers["Retry-After"] = _RETRY_AFTER | {"required": True}
    if status == HTTPStatus.CONFLICT:
        headers["Retry-After"] = _RETRY_AFTER  # where that makes a difference
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _header("the methods that there are")
    if status == HTTPStatus.FORBIDDEN and offer.keys:
        headers["WWW-Authenticate"] = {"description": "`Bearer`, with the scope that is missing", "schema": TEXT}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = _header("`Bearer`")
    return {"description": responses[status], "headers": headers, "content": {CONTENT_TYPE: {"schema": PROBLEM}}}


def _reference(kind: str, name: object) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": TEXT}


def _referring(value: Any, components: dict[str, Any]) -> Any:
    """A value of the document, in which components are referred to."""
    if isinstance(value, Component):
        if value.name not in components:
            components[value.name] = {}  # it may refer to itself
            components[value.name] = _referring(dict(value), components)
        return _reference("schemas", value.name)
    if isinstance(value, Mapping):
        return {name: _referring(each, components) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_referring(each, components) for each in value]
    return value
