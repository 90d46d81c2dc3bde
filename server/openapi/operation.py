"""What a route answers, as its module declares it. No I/O."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any]
"""JSON Schema, draft 2020-12."""

JSON = "application/json"


class Component(dict[str, Any]):
    """A schema that the document has once, under its name.

    Attributes:
        name: of it.
    """

    def __init__(self, name: str, schema: Schema) -> None:
        super().__init__(schema)
        self.name = name


@dataclass(frozen=True)
class Parameter:
    """What a request may have besides its body.

    Attributes:
        name: of it.
        schema: of its value.
        description: what it is for, "" for none.
        place: "query", "path" or "header".
        required: whether the request has to have it; all of a path have to be there.
    """

    name: str
    schema: Schema
    description: str = ""
    place: str = "query"
    required: bool = False


@dataclass(frozen=True)
class Answer:
    """What a request may be answered with, other than a problem.

    Attributes:
        description: when.
        content: the schema of each media type that it may have; empty for no body.
        headers: further headers, by name, and what each is for.
        status: the HTTP status.
        links: by their names, the id of an operation that may follow, and where its parameters are in this answer.
    """

    description: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    links: Mapping[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """A method of a path.

    Attributes:
        id: its name, which no other operation has.
        method: in capitals.
        path: with its parameters in braces.
        group: of operations that belong together.
        summary: what it does, in a few words.
        answers: other than problems.
        parameters: what a request may have.
        body: JSON Schema of the request's JSON; None for no body.
        problems: the statuses of the problems that the request may be answered with, besides those that any may.
        description: more words, "" for none.
        open: whether it needs no key.
        known: whether a client that shows one all the same is known by it.
        scope: what a key has to be for; "" where none is needed. NAME is the name that the request has.
        timed: whether answers have how long a worker took.
    """

    id: str
    method: str
    path: str
    group: str
    summary: str
    answers: Sequence[Answer]
    parameters: Sequence[Parameter] = ()
    body: Schema | None = None
    problems: Collection[int] = ()
    description: str = ""
    open: bool = False
    known: bool = False
    scope: str = ""
    timed: bool = False


def path(name: str, schema: Schema, description: str = "") -> Parameter:
    """A parameter of the path."""
    return Parameter(name, schema, description, "path", True)


def header(name: str, schema: Schema, description: str = "") -> Parameter:
    """A header that a request may have."""
    return Parameter(name, schema, description, "header")


def json(description: str, schema: Schema, status: int = 200, **options: Any) -> Answer:
    """An answer that is JSON; options as those of Answer."""
    return Answer(description, {JSON: schema}, status=status, **options)


def events(description: str, kinds: Collection[str], data: Schema) -> Answer:
    """An answer that is a stream of server-sent events.

    Args:
        description: when they come.
        kinds: of events; `message` is one that names none.
        data: the schema of their JSON.
    """
    properties = {
        "event": {"type": "string", "enum": list(kinds)},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": JSON, "contentSchema": data},
    }
    # https://spec.openapis.org/oas/v3.2.0.html#server-sent-event-streams, of which 3.1 has the schema of one event.
    return Answer(description, {"text/event-stream": {"type": "object", "properties": properties}})


def members(properties: Mapping[str, Schema], optional: Collection[str] = ()) -> dict[str, Any]:
    """The schema of an object that has these, but for those that are optional."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


def nullable(schema: Schema) -> dict[str, Any]:
    """The schema of a value, or of null."""
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema and "const" not in schema:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
