"""What a query or a job takes: a JSON Schema, and the values of one call. No I/O."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError

from nowait.formats import FORMATS, has_format, parse_date_time

_FORMATS = FormatChecker(formats=())
for _format in FORMATS:
    _FORMATS.checks(_format)(partial(has_format, _format))

# JSON Schema of the JSON Schema of one parameter.
PARAMETER: dict[str, Any] = {
    "type": "object",
    "properties": {"type": {"enum": ["integer", "number", "string", "boolean"]}},
    "required": ["type"],
    # It would be of no effect on any other type.
    "dependentSchemas": {"format": {"properties": {"type": {"const": "string"}}}},
}
_PARAMETERS = Draft202012Validator({"type": "object", "additionalProperties": PARAMETER})


class BadSchema(ValueError):
    """A schema that parameters cannot have; the text says where and why."""


class BadParameters(ValueError):
    """Parameters that a query or a job does not take; the text says which and why."""


@dataclass(frozen=True)
class Parameters:
    """The parameters of one query or job.

    Attributes:
        name: the query's, or job's.
        validator: of an object with its parameters.
    """

    name: str
    validator: Draft202012Validator

    @classmethod
    def of(cls, name: str, properties: dict[str, Any]) -> "Parameters":
        """The parameters with these JSON Schemas, by name; those without a default are required. Raises BadSchema."""
        try:
            _PARAMETERS.validate(properties)
            defaults = {parameter: schema["default"] for parameter, schema in properties.items() if "default" in schema}
            schema = {
                "type": "object",
                "properties": properties,
                "required": sorted(properties.keys() - defaults.keys()),
                "additionalProperties": False,
            }
            Draft202012Validator.check_schema(schema)
            Draft202012Validator({"properties": properties}, format_checker=_FORMATS).validate(defaults)
        except (SchemaError, ValidationError) as error:
            raise BadSchema(f"{error.json_path}: {error.message}") from error
        if unknown := set(_formats(properties)).difference(FORMATS):
            named, known = ", ".join(sorted(unknown)), ", ".join(FORMATS)
            raise BadSchema(f"format: there is no {named}; there is {known}")
        return cls(name, Draft202012Validator(schema, format_checker=_FORMATS))

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of an object with the parameters; those without a default are required."""
        schema: Any = self.validator.schema
        return dict(schema)

    def check(self, given: Any) -> dict[str, Any]:
        """The parameters of one call, with defaults. Raises BadParameters."""
        error: ValidationError | None = next(self.validator.iter_errors(given), None)
        if error is not None:
            # What is expected, not what was given: the text travels to the server's log.
            where = ".".join(map(str, error.path)) or "parameters"
            raise BadParameters(f"{self.name}: {where}: {error.validator} {error.validator_value!r} is expected"[:300])
        for name, value in given.items():
            if isinstance(value, float) and not math.isfinite(value):  # JSON Schema knows no NaN
                raise BadParameters(f"{self.name}: {name}: a number is expected")
        values = {name: given.get(name, schema.get("default")) for name, schema in self._properties.items()}
        return {name: _typed(value, self._properties[name]) for name, value in values.items()}

    def sample(self) -> dict[str, Any]:
        """Values of their types, as the database takes them; not each within its limits."""
        values = {name: schema.get("default", _sample(schema)) for name, schema in self._properties.items()}
        typed = {name: _typed(value, self._properties[name]) for name, value in values.items()}
        return {name: _bound(value, self._properties[name]) for name, value in typed.items()}

    def bind(self, given: Any) -> dict[str, Any]:
        """The same, as the database takes them: a date and time is one of UTC. Raises BadParameters."""
        return {name: _bound(value, self._properties[name]) for name, value in self.check(given).items()}

    @property
    def _properties(self) -> dict[str, Any]:
        schema: Any = self.validator.schema
        properties: dict[str, Any] = schema["properties"]
        return properties


def _formats(schema: Any) -> Iterator[str]:
    """Each format that a schema names anywhere."""
    for keyword, value in schema.items() if isinstance(schema, dict) else ():
        if keyword == "format" and isinstance(value, str):
            yield value
        for part in value if isinstance(value, list) else [value]:
            yield from _formats(part)


_SAMPLES: dict[str, Any] = {"integer": 0, "number": 0.0, "boolean": False, "string": ""}
_OF_FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


def _sample(schema: dict[str, Any]) -> Any:
    choices = schema.get("enum", [_OF_FORMATS.get(schema.get("format", ""), _SAMPLES[schema["type"]])])
    return choices[0]


def _typed(given: Any, schema: dict[str, Any]) -> Any:
    # To JSON Schema 3.0 is an integer, to a LIMIT it is none.
    return int(given) if schema["type"] == "integer" else given


def _bound(given: Any, schema: dict[str, Any]) -> Any:
    if schema.get("format") == "date-time":
        # Databases compare with one that has a zone as if it had none, or not at all.
        return parse_date_time(given).replace(tzinfo=None)
    return given
