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
    cache = 5.0                   # seconds in which an answer may be given again; none otherwise
    coalesce = true               # false: calls for the same at once are each run
    json_columns = ["profile"]    # MariaDB's JSON columns, which it calls LONGTEXT
    job = true                    # it may be run as a durable job, too: INSERT, UPDATE, CALL with repeatable = false
    job_time_limit = 3600.0       # seconds that it may take then
    [NAME.retry]                  # when the job is tried again: max_retries, backoff, backoff_max
    [NAME.parameters.PARAMETER]   # JSON Schema: type (integer, number, string, boolean), minimum, format, …
"""

import json
import re
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import aiosql
import tomli
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from sqlalchemy import JSON, TextualSelect, text

from nowait.jobs.retry import BadRetry, Retry
from nowait.jobs.table import MAX_NAME
from tasks.parameters import PARAMETER, BadParameters, BadSchema, Parameters

__all__ = ["BadParameters", "CatalogueError", "Query", "load"]

_NAME = re.compile(r"[A-Za-z0-9_.]{1,100}")  # what a URL of the server may have
_READS = re.compile(r"[\s(]*(SELECT|WITH|VALUES|TABLE|SHOW|DESC|DESCRIBE|EXPLAIN)\b", re.IGNORECASE)
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
            "cache": {"type": "number", "exclusiveMinimum": 0, "maximum": 31_536_000},  # a year
            "coalesce": {"type": "boolean"},
            "json_columns": {"type": "array", "items": {"type": "string"}},
            "job": {"type": "boolean"},
            "job_time_limit": {"type": "number", "exclusiveMinimum": 0},
            "retry": {"type": "object"},  # see nowait.jobs.retry
            "parameters": {"type": "object", "additionalProperties": PARAMETER},
        },
        "additionalProperties": False,
    }
)


class CatalogueError(ValueError):
    """A query that cannot be served; its text names the file, the query and what is wrong."""


@dataclass(frozen=True)
class Query:
    """One named query.

    Attributes:
        name: its name.
        description: what it is for, "" for none.
        statement: one, with named parameters.
        parameters: what these may be.
        queue: the queue that its calls go to.
        time_limit: seconds that the statement may take.
        row_limit: rows that it may give.
        stream_time_limit, stream_row_limit: the same, where its rows are streamed.
        repeatable: True when it may run twice.
        cache: seconds in which an answer of a server may be given again; 0 for none.
        coalesce: True when one run may answer all that ask for the same while it is under way.
        revision: another one for another statement, or other settings.
        job: True when it may be run as a job, too.
        job_time_limit: seconds that each attempt of the job may take.
        retry: when the job is tried again, unless whoever adds it decides.
    """

    name: str
    description: str
    statement: TextualSelect
    parameters: Parameters
    queue: str = "queries"
    time_limit: float = 60.0
    row_limit: int = 10_000
    stream_time_limit: float = 3600.0
    stream_row_limit: int = 10_000_000
    repeatable: bool = True
    cache: float = 0.0
    coalesce: bool = True
    revision: str = ""
    job: bool = False
    job_time_limit: float = 3600.0
    retry: Retry = Retry()

    def bind(self, given: Any) -> dict[str, Any]:
        """The parameters of one call, with defaults, as the database takes them: a date and time is one of UTC.

        Raises BadParameters.
        """
        return self.parameters.bind(given)

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of an object with its parameters; those without a default are required."""
        return self.parameters.schema

    def document(self) -> dict[str, Any]:
        """What others may know of it, as JSON values; not its SQL."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": self.schema,
            "queue": self.queue,
            "time_limit": self.time_limit,
            "repeatable": self.repeatable,
            "cache": self.cache,
            "coalesce": self.repeatable and self.coalesce,
            "revision": self.revision,
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
    revision = blake2b(repr((sql, settings)).encode(), digest_size=8).hexdigest()
    try:
        _SETTINGS.validate(settings)
        json_columns, properties = settings.pop("json_columns", []), settings.pop("parameters", {})
        settings["retry"] = Retry.parse(settings.pop("retry", {}))
        parameters = Parameters.of(name, properties)
    except ValidationError as error:
        raise CatalogueError(f"{where}: {error.json_path}: {error.message}") from error
    except (BadSchema, BadRetry) as error:
        raise CatalogueError(f"{where}: {error}") from error
    if ";" in sql:
        raise CatalogueError(f"{path}: {name}: one statement is expected, without ';'")
    statement = text(sql)
    used, listed = (", ".join(sorted(names)) or "none" for names in (statement.compile().params, properties))
    if used != listed:
        raise CatalogueError(f"{where}: parameters: the statement has {used}, the table {listed}")
    if not _NAME.fullmatch(name):
        raise CatalogueError(f"{path}: {name}: a name has up to 100 letters of ASCII, digits, _ and .")
    typed = statement.columns(**{column: JSON() for column in json_columns})
    query = Query(name, description.strip(), typed, parameters, **settings, revision=revision)
    if query.cache != query.cache or query.cache and not query.repeatable:
        raise CatalogueError(f"{where}: cache: seconds are expected, of a query that is repeatable")
    if query.job and query.repeatable and not _READS.match(sql):
        # Safe as a job, and not as a query, which a GET would run.
        raise CatalogueError(f"{where}: repeatable = false is expected of a statement that is no SELECT")
    if query.job and len(name) > MAX_NAME:
        raise CatalogueError(f"{where}: the name of a job has up to {MAX_NAME} characters")
    try:
        # TOML knows inf, nan and dates, JSON does not: servers would get no list at all.
        json.dumps([query.document(), query.job_time_limit, query.stream_time_limit], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CatalogueError(f"{where}: finite numbers, texts and booleans are expected: {error}") from error
    return query
