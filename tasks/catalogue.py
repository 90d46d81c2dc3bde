"""The named queries of a folder: SQL files, and beside each a TOML file with what its queries may do.

Statements are loaded by aiosql: one a file, named as the file, or several behind comments
`-- name: NAME(PARAMETER, …)`; other comments describe them, parameters are written `:name`. The
file of the same name with the ending .toml has a table for each query, all of it optional:

    [NAME]
    queue = "queries.fast"        # "queries" otherwise
    time_limit = 5.0              # seconds, besides the deadline of the call
    row_limit = 1000              # rows; more are an error
    stream_time_limit = 600.0     # the same of a stream
    stream_row_limit = 1000000
    repeatable = true             # false: it is never run a second time
    json_columns = ["profile"]    # MariaDB's JSON columns, which it calls LONGTEXT
    [NAME.parameters.PARAMETER]   # JSON Schema: type (integer, number, string, boolean), minimum, format, …
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiosql
import tomli
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from sqlalchemy import JSON, TextualSelect, text

from nowait.formats import FORMATS, has_format, parse_date_time

_FORMATS = FormatChecker(formats=())
for _format in FORMATS:
    _FORMATS.checks(_format)(partial(has_format, _format))
_PARAMETER = {
    "type": "object",
    "properties": {"type": {"enum": ["integer", "number", "string", "boolean"]}},
    "required": ["type"],
    # It would be of no effect on any other type.
    "dependentSchemas": {"format": {"properties": {"type": {"const": "string"}}}},
}
_SETTINGS = Draft202012Validator(
    {
        "type": "object",
        "properties": {
            "queue": {"type": "string", "minLength": 1, "maxLength": 200},
            "time_limit": {"type": "number", "exclusiveMinimum": 0},
            "row_limit": {"type": "integer", "minimum": 1},
            "stream_time_limit": {"type": "number", "exclusiveMinimum": 0},
            "stream_row_limit": {"type": "integer", "minimum": 1},
            "repeatable": {"type": "boolean"},
            "json_columns": {"type": "array", "items": {"type": "string"}},
            "parameters": {"type": "object", "additionalProperties": _PARAMETER},
        },
        "additionalProperties": False,
    }
)


class CatalogueError(ValueError):
    """A query that cannot be served; its text names the file, the query and what is wrong."""


class BadParameters(ValueError):
    """Parameters that a query does not take; the text says which and why."""


@dataclass(frozen=True)
class Query:
    """One named query.

    Attributes:
        name: its name.
        description: what it is for, "" for none.
        statement: one SELECT with named parameters.
        parameters: validator of an object with its parameters, for its JSON Schema.
        queue: the queue that its calls go to.
        time_limit: seconds that the statement may take.
        row_limit: rows that it may give.
        stream_time_limit, stream_row_limit: the same, where its rows are streamed.
        repeatable: True when it may run twice.
    """

    name: str
    description: str
    statement: TextualSelect
    parameters: Draft202012Validator
    queue: str = "queries"
    time_limit: float = 60.0
    row_limit: int = 10_000
    stream_time_limit: float = 3600.0
    stream_row_limit: int = 10_000_000
    repeatable: bool = True

    def bind(self, given: Any) -> dict[str, Any]:
        """The parameters of one call, with defaults, as the database takes them: a date and time is one of UTC.

        Raises BadParameters.
        """
        error: ValidationError | None = next(self.parameters.iter_errors(given), None)
        if error is not None:
            # What is expected, not what was given: the text travels to the server's log.
            where = ".".join(map(str, error.path)) or "parameters"
            raise BadParameters(f"{self.name}: {where}: {error.validator} {error.validator_value!r} is expected"[:300])
        for name, value in given.items():
            if isinstance(value, float) and not math.isfinite(value):  # JSON Schema knows no NaN
                raise BadParameters(f"{self.name}: {name}: a number is expected")
        properties = self.schema["properties"]
        return {name: _value(given.get(name, schema.get("default")), schema) for name, schema in properties.items()}

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of an object with its parameters; those without a default are required."""
        schema: Any = self.parameters.schema
        return dict(schema)

    def document(self) -> dict[str, Any]:
        """What others may know of it, as JSON values; not its SQL."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": self.schema,
            "queue": self.queue,
            "time_limit": self.time_limit,
            "repeatable": self.repeatable,
        }


def load(folder: Path) -> dict[str, Query]:
    """All queries of a folder, by name. Raises CatalogueError."""
    found: dict[str, Query] = {}
    if not folder.is_dir():
        raise CatalogueError(f"{folder}: not a folder")
    for path in sorted(folder.glob("*.sql")):
        settings = _settings(path.with_suffix(".toml"))
        for name, (sql, description) in _statements(path).items():
            if name in found:
                raise CatalogueError(f"{path}: {name}: there is another query of that name")
            found[name] = _query(path, name, sql, description, settings.pop(name, {}))
        if settings:
            raise CatalogueError(f"{path.with_suffix('.toml')}: no statement is called {', '.join(sorted(settings))}")
    return found


def _statements(path: Path) -> dict[str, tuple[str, str]]:
    """SQL and description by name."""
    try:
        source = path.read_text(encoding="utf-8")
        if "-- name:" not in source:
            source = f"-- name: {path.stem}\n{source}"
        # The adapter of SQLite leaves the parameters as they are written, :name, as SQLAlchemy wants them.
        queries = aiosql.from_str(source, "sqlite3", mandatory_parameters=False)
        functions = {name: getattr(queries, name) for name in queries.available_queries}
    except Exception as error:  # aiosql's own, OSError, UnicodeError
        raise CatalogueError(f"{path}: {error}") from error
    return {
        name: (function.sql.strip().rstrip(";"), function.__doc__ or "")
        for name, function in functions.items()
        if not name.endswith("_cursor")
    }


def _settings(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; none when there is no file."""
    try:
        return tomli.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CatalogueError(f"{path}: {error}") from error


def _query(path: Path, name: str, sql: str, description: str, settings: dict[str, Any]) -> Query:
    where = f"{path.with_suffix('.toml')}: {name}"
    try:
        _SETTINGS.validate(settings)
        json_columns, properties = settings.pop("json_columns", []), settings.pop("parameters", {})
        defaults = {parameter: schema["default"] for parameter, schema in properties.items() if "default" in schema}
        parameters = {
            "type": "object",
            "properties": properties,
            "required": sorted(properties.keys() - defaults.keys()),
            "additionalProperties": False,
        }
        Draft202012Validator.check_schema(parameters)
        Draft202012Validator({"properties": properties}, format_checker=_FORMATS).validate(defaults)
    except (SchemaError, ValidationError) as error:
        raise CatalogueError(f"{where}: {error.json_path}: {error.message}") from error
    if unknown := set(_formats(properties)).difference(FORMATS):
        named, known = ", ".join(sorted(unknown)), ", ".join(FORMATS)
        raise CatalogueError(f"{where}: format: there is no {named}; there is {known}")
    if ";" in sql:
        raise CatalogueError(f"{path}: {name}: one statement is expected, without ';'")
    statement = text(sql)
    used, listed = (", ".join(sorted(names)) or "none" for names in (statement.compile().params, properties))
    if used != listed:
        raise CatalogueError(f"{where}: parameters: the statement has {used}, the table {listed}")
    typed = statement.columns(**{column: JSON() for column in json_columns})
    validator = Draft202012Validator(parameters, format_checker=_FORMATS)
    return Query(name, description.strip(), typed, validator, **settings)


def _formats(schema: Any) -> Iterator[str]:
    """Each format that a schema names anywhere."""
    for keyword, value in schema.items() if isinstance(schema, dict) else ():
        if keyword == "format" and isinstance(value, str):
            yield value
        for part in value if isinstance(value, list) else [value]:
            yield from _formats(part)


def _value(given: Any, schema: dict[str, Any]) -> Any:
    if schema.get("format") == "date-time":
        # Databases compare with one that has a zone as if it had none, or not at all.
        return parse_date_time(given).replace(tzinfo=None)
    return given
