import base64
import csv
import datetime
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowait.rows import encode_csv, encode_lines, encode_rows, to_json


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (18446744073709551615, 18446744073709551615),
        (0.1, 0.1),
        ("Zoë 🐇", "Zoë 🐇"),
        ({"π": [1, None]}, {"π": [1, None]}),
        (Decimal("-0.0100"), "-0.0100"),
        (Decimal("1E+3"), "1E+3"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (datetime.datetime(2024, 2, 29, 1, 2, 3), "2024-02-29T01:02:03"),
        (datetime.datetime(2024, 2, 29, 1, 2, 3, 40), "2024-02-29T01:02:03.000040"),
        (datetime.timedelta(0), "00:00:00"),
        (datetime.timedelta(hours=8, minutes=30), "08:30:00"),
        (datetime.timedelta(hours=23, microseconds=5), "23:00:00.000005"),
        (datetime.timedelta(hours=838, minutes=59, seconds=59), "838:59:59"),
        (-datetime.timedelta(hours=838, minutes=59, seconds=59), "-838:59:59"),
        (b"\x00\xff", "AP8="),
        (b"", ""),
    ],
)
def test_a_value_has_one_json_form(value: Any, expected: Any) -> None:
    assert to_json(value) == expected
    assert json.loads(json.dumps(to_json(value))) == expected


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j])
def test_what_has_no_form_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError, match="no JSON form"):
        to_json(value)


@given(st.timedeltas(datetime.timedelta(hours=-838), datetime.timedelta(hours=838)))
def test_times_come_back_exactly(value: datetime.timedelta) -> None:
    text = to_json(value)
    sign = -1 if text.startswith("-") else 1
    hours, minutes, seconds = text.lstrip("-").split(":")
    microseconds = round(float(seconds) * 1_000_000)
    assert value == sign * datetime.timedelta(hours=int(hours), minutes=int(minutes), microseconds=microseconds)


@given(st.decimals(allow_nan=False, allow_infinity=False), st.binary(), st.datetimes())
def test_decimals_bytes_and_moments_come_back_exactly(
    number: Decimal, data: bytes, moment: datetime.datetime
) -> None:
    assert Decimal(to_json(number)) == number
    assert base64.b64decode(to_json(data)) == data
    assert datetime.datetime.fromisoformat(to_json(moment)) == moment


def test_lines_of_json_are_the_objects_of_the_array() -> None:
    names, rows = ("a", "b"), [(1, "ü\n\ud800"), (Decimal("1.50"), None)]
    lines = encode_lines(names, rows).splitlines(keepends=True)
    assert [line[-1:] for line in lines] == [b"\n", b"\n"]
    assert b"[" + b",".join(line[:-1] for line in lines) + b"]" == encode_rows(names, rows)
    assert encode_lines(names, []) == b""


def test_csv_tells_null_from_an_empty_string_and_is_read_by_the_standard_library() -> None:
    day = datetime.date(2026, 1, 2)
    rows = [[None, "", 'a "b"\r\n, c', 1, -1.5, Decimal("1.50"), day, b"\0", {"k": [1, "é"]}, "=1+1"]]
    text = encode_csv(rows).decode()
    assert text == ',"","a ""b""\r\n, c",1,-1.5,"1.50","2026-01-02","AA==","{""k"":[1,""é""]}","=1+1"\r\n'
    (read,) = csv.reader(io.StringIO(text, newline=""))
    assert read == ["", "", 'a "b"\r\n, c', "1", "-1.5", "1.50", "2026-01-02", "AA==", '{"k":[1,"é"]}', "=1+1"]
    assert encode_csv([["\ud800"]]) == b'"\\ud800"\r\n'
