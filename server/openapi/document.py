"""The document, made of the operations. No I/O."""

from collections.abc import Iterable, Mapping
from http.client import responses
from typing import Any

from server.http.problem import CONTENT_TYPE
from server.openapi.operation import JSON, Answer, Component, Operation, Parameter
from server.openapi.shared import PROBLEM, TEXT

_VERSION = "3.1.1"
# What any request may be answered with: too large a body, too large headers.
_ANY = (413, 431)
_WRONG_TYPE = 415  # of a body
_WITH_RETRY_AFTER = (429, 503)


def document(operations: Iterable[Operation], demo: bool) -> dict[str, Any]:
    """The document.

    Args:
        operations: all of them.
        demo: whether it takes no requests that pages of other sites send.
    """
    any_status = (*_ANY, 403) if demo else _ANY
    components: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    groups: dict[str, None] = {}
    problems = {_WRONG_TYPE}
    for operation in operations:
        groups[operation.group] = None
        problems |= {*operation.problems, *any_status}
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, any_status)
    described = _referring(paths, components)
    answers = _referring({str(status): _problem(status) for status in sorted(problems)}, components)
    return {
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


def _operation(operation: Operation, any_status: Iterable[int]) -> dict[str, Any]:
    problems = sorted({*operation.problems, *any_status})
    made: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.group],
        "summary": operation.summary,
        "responses": {str(answer.status): _answer(answer) for answer in operation.answers}
        | {str(status): _reference("responses", status) for status in problems},
    }
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
