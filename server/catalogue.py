"""The named queries, as the workers last listed them, and the parameters that each takes."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from sys import float_info
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from nowait.errors import DeadlineExceeded
from nowait.formats import FORMATS, has_format

log = logging.getLogger(__name__)

_MAX_AGE = 60.0  # seconds after which the list is fetched again, in the background
_MIN_AGE = 2.0  # seconds before that, even for a name that is not in it
_FETCH_TIMEOUT = 10.0  # seconds

# How a value is written in a URL, by its type; strings as they are.
_FORMS: dict[Any, tuple[re.Pattern[str], Callable[[str], Any], str]] = {
    "integer": (re.compile(r"[+-]?[0-9]{1,18}"), int, "an integer"),
    "number": (re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"), float, "a number"),
    "boolean": (re.compile(r"true|false"), "true".__eq__, "true or false"),
}
_FORMATS = FormatChecker(formats=())
for _format in FORMATS:
    _FORMATS.checks(_format)(partial(has_format, _format))
_SURROGATE = re.compile("[\ud800-\udfff]")


class BadParameter(ValueError):
    """A parameter that the query does not take; the text has its name and what is expected."""


@dataclass(frozen=True)
class Query:
    """One named query.

    Attributes:
        name: its name.
        description: what it is for.
        parameters: JSON Schema of an object with its parameters.
        queue: the queue that its calls go to.
        idempotent: True when its task may run twice.
        broken: True when it could not work in the workers' database, as far as they know.
        validators: one for each parameter's schema, by its name.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    queue: str
    idempotent: bool
    broken: bool
    validators: Mapping[str, Draft202012Validator]

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "Query":
        """The query that a worker lists. Raises KeyError, TypeError or AttributeError when it is none."""
        properties = document["parameters"]["properties"]
        return cls(
            name=document["name"],
            description=document["description"],
            parameters=document["parameters"],
            queue=document["queue"],
            idempotent=document["repeatable"] is True,
            broken=document.get("broken") is True,
            validators={
                name: Draft202012Validator(schema, format_checker=_FORMATS) for name, schema in properties.items()
            },
        )

    def parse(self, given: Mapping[str, list[str]]) -> dict[str, Any]:
        """The values of parameters that came as text. Raises BadParameter.

        Args:
            given: all values of each parameter, by name.
        """
        values = {}
        for name, texts in given.items():
            if len(texts) != 1:
                raise BadParameter(f"{name[:100]}: one value is expected, not {len(texts)}.")
            values[name] = texts[0]
            kind = self.parameters["properties"].get(name, {}).get("type")
            if kind in _FORMS:
                form, value, expected = _FORMS[kind]
                if not form.fullmatch(texts[0]):
                    raise BadParameter(f"{name}: {expected} is expected.")
                values[name] = value(texts[0])
        return self.check(values)

    def check(self, values: Any) -> dict[str, Any]:
        """Parameters as JSON values, once they are found to be what the query takes. Raises BadParameter."""
        if not isinstance(values, dict):
            raise BadParameter("An object with the parameters is expected.")
        for name, value in values.items():
            if name not in self.validators:
                there = ", ".join(self.validators) or "none"
                raise BadParameter(f"{name[:100]}: there is no such parameter; there is {there}.")
            # JSON Schema knows no NaN, and its validator no number that is larger than a float.
            if isinstance(value, (int, float)) and not abs(value) <= float_info.max:
                raise BadParameter(f"{name}: a number is expected.")
            if isinstance(value, str) and _SURROGATE.search(value):  # JSON can have one, UTF-8 not
                raise BadParameter(f"{name}: a lone surrogate is no character.")
            error: ValidationError | None = next(self.validators[name].iter_errors(value), None)
            if error is not None:
                raise BadParameter(f"{name}: {error.message[:200]}.")
        for name, schema in self.parameters["properties"].items():
            if name not in values and "default" not in schema:
                raise BadParameter(f"{name}: it is missing.")
        return values

    def document(self) -> dict[str, Any]:
        """What clients may know of it."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
            "repeatable": self.idempotent,
            "broken": self.broken,
        }


class QueryCatalogue:
    """The named queries, by name. The workers own them.

    What was fetched last is served at once, however old it is, and fetched again in the background.

    Args:
        fetch: sends the task that lists them, with a timeout in seconds, and awaits its result.
        clock: seconds, never going back.
    """

    def __init__(self, fetch: Callable[[float], Awaitable[Any]], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._queries: dict[str, Query] | None = None
        self._fetched_at = self._tried_at = -inf
        self._refresh_task: asyncio.Task[None] | None = None

    def known(self, name: str) -> Query | None:
        """The query of that name in the list that was fetched last; None when it is not there."""
        self._refresh_after(_MAX_AGE)
        return self._queries.get(name) if self._queries else None

    async def get(self, name: str, timeout: float) -> Query | None:
        """As known(), with a list that is at most seconds old when the name is not in it.

        Raises DeadlineExceeded, or what `fetch` raises, when that list cannot be had within `timeout` seconds.
        """
        if self.known(name) is None:
            await self._refreshed(timeout)
        return self.known(name)

    async def all(self, timeout: float) -> list[Query]:
        """All queries. Raises as get() when there never was a list."""
        if self._queries is None:
            await self._refreshed(timeout)
        self._refresh_after(_MAX_AGE)
        return list((self._queries or {}).values())

    async def _refreshed(self, timeout: float) -> None:
        """Wait for a list that is younger than _MIN_AGE. Many callers fetch once."""
        task = self._refresh_after(_MIN_AGE)
        if task is not None:
            # A caller that leaves, or has less time, ends it for no other.
            done, _ = await asyncio.wait([task], timeout=timeout)
            if not done:
                raise DeadlineExceeded("the workers have not listed their queries in time")
            task.result()

    def _refresh_after(self, age: float) -> "asyncio.Task[None] | None":
        """Fetch the list when it is older than `age` seconds; None when it is not, or was just tried in vain."""
        if self._refresh_task is not None and not self._refresh_task.done():
            return self._refresh_task
        now = self._clock()
        if self._queries is not None and (now - self._fetched_at < age or now - self._tried_at < _MIN_AGE):
            return None
        self._refresh_task = asyncio.create_task(self._refresh())
        # Its failure is raised to those who wait, and to nobody when all have left.
        self._refresh_task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._refresh_task

    async def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            documents = await self._fetch(_FETCH_TIMEOUT)
            self._queries = {query.name: query for query in map(Query.of_document, documents)}
            self._fetched_at = self._clock()
        except Exception as error:
            log.warning("the list of queries could not be fetched: %s: %s", type(error).__name__, error)
            raise
