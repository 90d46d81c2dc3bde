"""What the server knows of the named queries: what the workers told, kept for a while."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from jsonschema import Draft202012Validator

from nowait.errors import DeadlineExceeded

_MAX_AGE = 60.0  # seconds after which the workers are asked again
_MIN_AGE = 2.0  # seconds before that, even for a name that nobody knows
_ASK_TIMEOUT = 10.0  # seconds

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


class BadParameter(ValueError):
    """A parameter that the query does not take; the text says which, and what is expected."""


@dataclass(frozen=True)
class Query:
    """One named query.

    Attributes:
        name: its name.
        description: what it is for.
        parameters: JSON Schema of an object with its parameters.
        queue: the queue that its calls go to.
        repeatable: True when its task may run twice.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    queue: str
    repeatable: bool

    def parse(self, given: Mapping[str, list[str]]) -> dict[str, Any]:
        """The values of parameters that came as text. Raises BadParameter.

        Args:
            given: all values of each parameter, by name.
        """
        properties: Mapping[str, Any] = self.parameters["properties"]
        values = {}
        for name, texts in given.items():
            if name not in properties:
                raise BadParameter(f"{name[:100]}: there is no such parameter; there is {_list(properties)}.")
            if len(texts) != 1:
                raise BadParameter(f"{name}: one value is expected, not {len(texts)}.")
            values[name] = _value(name, properties[name], texts[0])
        for name, schema in properties.items():
            if name not in values and "default" not in schema:
                raise BadParameter(f"{name}: it is missing.")
        for name, value in values.items():
            error = next(Draft202012Validator(properties[name]).iter_errors(value), None)
            if error is not None:
                raise BadParameter(f"{name}: {error.message[:200]}.")
        return values

    def document(self) -> dict[str, Any]:
        """What clients may know of it."""
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}


class Catalogue:
    """The named queries, by name. The workers own them; a server asks when it has to know.

    Args:
        ask: sends the task that lists them, with a timeout in seconds, and awaits its result.
        clock: seconds, never going back.
    """

    def __init__(self, ask: Callable[[float], Awaitable[Any]], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._queries: dict[str, Query] = {}
        self._asked: float | None = None
        self._asking: asyncio.Task[None] | None = None

    async def all(self, timeout: float) -> list[Query]:
        """All queries, known within `timeout` seconds.

        Raises DeadlineExceeded, or what `ask` raises, when the workers had to be asked and fail.
        """
        await self._refresh(_MAX_AGE, timeout)
        return list(self._queries.values())

    async def get(self, name: str, timeout: float) -> Query | None:
        """The query of that name, None when the workers have none. Raises as all()."""
        await self._refresh(_MAX_AGE if name in self._queries else _MIN_AGE, timeout)
        return self._queries.get(name)

    async def _refresh(self, age: float, timeout: float) -> None:
        """Ask the workers, unless they were asked that lately. Many callers ask once."""
        if self._asked is not None and self._clock() - self._asked < age:
            return
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._learn())
            # Its failure is told to those who still wait, and to nobody when all have left.
            self._asking.add_done_callback(lambda asking: asking.cancelled() or asking.exception())
        # A caller that leaves, or has less time, takes the answer from no other.
        done, _ = await asyncio.wait([self._asking], timeout=timeout)
        if not done:
            raise DeadlineExceeded("the workers have not told their queries yet")
        self._asking.result()

    async def _learn(self) -> None:
        told = await self._ask(_ASK_TIMEOUT)
        self._queries = {query.name: query for query in map(_query, told)}
        self._asked = self._clock()


def _query(told: Mapping[str, Any]) -> Query:
    return Query(told["name"], told["description"], told["parameters"], told["queue"], told["repeatable"] is True)


def _value(name: str, schema: Mapping[str, Any], text: str) -> Any:
    """The value that a text stands for, by the type of its schema."""
    kind = schema.get("type")
    if kind == "string":
        return text
    if kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "number" and _NUMBER.fullmatch(text) and isfinite(float(text)):
        return float(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    expected = {"integer": "an integer", "number": "a number", "boolean": "true or false"}
    raise BadParameter(f"{name}: {expected.get(str(kind), 'another type')} is expected.")


def _list(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "none"
