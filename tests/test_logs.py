"""Lines of the log as JSON."""

import json
import logging
import sys
from typing import Any

import pytest

from nowait.logs import JsonFormatter, TextFormatter


def written(formatter: logging.Formatter, message: str, *args: Any, **fields: Any) -> str:
    exc_info = fields.pop("exc_info", None)
    record = logging.LogRecord("server.http", logging.WARNING, "file.py", 1, message, args, exc_info)
    vars(record).update(fields)
    return formatter.format(record)


def test_a_line_has_time_level_logger_message_and_process() -> None:
    line = json.loads(written(JsonFormatter(), "%d of %s", 3, "x", created=1767225600.25, msecs=250.0, process=7))
    assert line == {
        "time": "2026-01-01T00:00:00.250Z", "level": "warning", "logger": "server.http", "message": "3 of x",
        "process": 7,
    }  # fmt: skip


@pytest.mark.parametrize("text", ['a\n{"level": "error"}', "a\r\nb", "a\u2028b\x85c\x0bd", "\x1b[2Jx", "\ud800", '"\\'])
def test_whatever_is_logged_is_one_line(text: str) -> None:
    line = written(JsonFormatter(), "request %s", text, fields={"request_id": text})
    assert len(line.splitlines()) == 1
    assert line.isascii() and line.isprintable()
    assert (json.loads(line)["message"], json.loads(line)["request_id"]) == (f"request {text}", text)


def test_an_exception_is_a_member_of_its_line() -> None:
    try:
        raise LookupError("a\nb")
    except LookupError:
        line = written(JsonFormatter(), "it failed", exc_info=sys.exc_info())
    assert len(line.splitlines()) == 1
    assert json.loads(line)["exception"].endswith("LookupError: a\nb")


def test_what_else_a_record_has_stays_out_of_the_log() -> None:
    line = written(JsonFormatter(), "succeeded", data={"return_value": "rows"}, args_of_mine=[1])
    assert json.loads(line).keys() == {"time", "level", "logger", "message", "process"}


def test_a_value_of_any_kind_has_a_form() -> None:
    assert json.loads(written(JsonFormatter(), "x", fields={"peer": {1}}))["peer"] == "{1}"


def test_what_is_no_mapping_is_left_out_and_none_takes_the_place_of_a_member() -> None:
    assert "fields" not in json.loads(written(JsonFormatter(), "x", fields=["a"]))
    line = json.loads(written(JsonFormatter(), "x", fields={"message": "forged", "level": "debug", (1, 2): 3}))
    assert (line["message"], line["level"], line["(1, 2)"]) == ("x", "warning", 3)


def test_a_line_of_text_has_no_control_characters_but_its_own_line_breaks() -> None:
    line = written(TextFormatter(), "%s", "a\x85b\u2028c\x9b31m\x1b[2J\x00\rd\te\nf")
    assert line.endswith(r" a\x85b\u2028c\x9b31m\x1b[2J\x00\x0dd" + "\te\nf")
    assert len(line.splitlines()) == 2


def test_a_line_of_text_is_as_it_was_where_there_is_no_trace() -> None:
    line = written(TextFormatter(), "%s", "x")
    assert line.endswith(" WARNING server.http: x")
