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
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, of_any, offer.keys)
    described = _referring(paths, components)
    answers = _referring({str(status): _problem(status) for status in sorted(problems)}, components)
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


def _operation(operation: Operation, of_any: Iterable[int], keys: bool) -> dict[str, Any]:
    problems = sorted({*operation.problems, *of_any})
    made: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.group],
        "summary": operation.summary,
        "responses": {str(answer.status): _answer(answer) for answer in operation.answers}
        | {str(status): _reference("responses", status) for status in problems},
    }
    if keys and operation.open:
        made["security"] = [{}, {_KEY: []}] if operation.known else []
    if operation.description:
        made["description"] = operation.description
    if operation.parameters:
        made["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body is not None:
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": operation.body}}}
        made["responses"][str(_WRONG_TYPE)] = _reference("responses", _WRONG_TYPE)
    return made


def _parameter(parameter: Parameter) -> dict[str, Any]:
    made = {"name": parameter.name, "in": parameter.place, "required": parameter.required, "schema": parameter.schema}
    return {**made, "description": parameter.description} if parameter.description else made


def _answer(answer: Answer) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": answer.description,
        "headers": {"X-Request-Id": _header("of the request, or a new one")}
        | {name: {"description": what, "schema": TEXT} for name, what in answer.headers.items()},
    }
    if answer.content:
        made["content"] = {kind: {"schema": schema} for kind, schema in answer.content.items()}
    if answer.links:
        made["links"] = {
            name: {"operationId": following, "parameters": dict(parameters)}
            for name, (following, parameters) in answer.links.items()
        }
    return made


def _problem(status: int) -> dict[str, Any]:
    headers = {"X-Request-Id": _header("of the request, or a new one")}
    if status in _WITH_RETRY_AFTER:
        headers["Retry-After"] = {"description": "seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}}
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
