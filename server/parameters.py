"""The parameters of what workers list: checked by the JSON Schema that they give."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from sys import float_info
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from nowait.formats import FORMATS, has_format

_MAX_DEPTH = 30  # lists and objects in one another; MariaDB takes 32 for JSON

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
    """A parameter that is not taken; the text has its name and what is expected."""


@dataclass(frozen=True)
class Parameters:
    """What a query or a job takes.

    Attributes:
        schema: JSON Schema of an object with them.
        validators: one for each parameter's schema, by its name.
    """

    schema: Mapping[str, Any]
    validators: Mapping[str, Draft202012Validator]

    @property
    def strict(self) -> dict[str, Any]:
        """The schema of an object with all that are needed, those without a default, and no others."""
        properties = self.schema["properties"]
        needed = [name for name, each in properties.items() if "default" not in each]
        return {**self.schema, "type": "object", "required": needed, "additionalProperties": False}

    @classmethod
    def of_schema(cls, schema: Mapping[str, Any]) -> "Parameters":
        """Those that a worker lists. Raises KeyError, TypeError or AttributeError when it lists something else."""
        return cls(
            schema,
            {
                name: Draft202012Validator(each, format_checker=_FORMATS)
                for name, each in schema["properties"].items()
            },
        )

    @property
    def defaults(self) -> dict[str, Any]:
        """Of those that may be left out, by name."""
        return {name: each["default"] for name, each in self.schema["properties"].items() if "default" in each}

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
            kind = self.schema["properties"].get(name, {}).get("type")
            if kind in _FORMS:
                form, value, expected = _FORMS[kind]
                if not form.fullmatch(texts[0]):
                    raise BadParameter(f"{name}: {expected} is expected.")
                values[name] = value(texts[0])
        return self.check(values)

    def check(self, values: Any) -> dict[str, Any]:
        """Parameters as JSON values, once they are found to be what is taken. Raises BadParameter."""
        if not isinstance(values, dict):
            raise BadParameter("An object with the parameters is expected.")
        for name, value in values.items():
            if name not in self.validators:
                there = ", ".join(self.validators) or "none"
                raise BadParameter(f"{name[:100]}: there is no such parameter; there is {there}.")
            if (reason := _unfit(value)) is not None:
                raise BadParameter(f"{name}: {reason}.")
            error: ValidationError | None = next(self.validators[name].iter_errors(value), None)
            if error is not None:
                raise BadParameter(f"{name}: {error.message[:200]}.")
        for name, schema in self.schema["properties"].items():
            if name not in values and "default" not in schema:
                raise BadParameter(f"{name}: it is missing.")
        return values


def _unfit(value: Any) -> str | None:
    """Why a value that was read from JSON is none that can be passed on; None when it can be."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        # JSON Schema knows no NaN, and its validator no number that is larger than a float.
        if any(isinstance(each, (int, float)) and not abs(each) <= float_info.max for each in level):
            return "a number is expected"
        if any(isinstance(each, str) and _SURROGATE.search(each) for each in level):  # JSON can have one, UTF-8 not
            return "a lone surrogate is no character"
        level = [inner for each in level for inner in _inner(each)]
        if not level:
            return None
    return f"at most {_MAX_DEPTH} levels are expected"


def _inner(value: Any) -> list[Any]:
    """What a list or an object has, its names included."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []
