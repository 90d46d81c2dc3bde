import base64
import csv
import datetime
import io
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowait.rows import alike, compact_json, encode_columns, encode_csv, encode_lines, encode_rows, to_json


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
    names, rows = ("a", "b"), [(1, "ü\n"), (Decimal("1.50"), None)]
    lines = encode_lines(names, list(zip(*rows))).splitlines(keepends=True)
    assert [line[-1:] for line in lines] == [b"\n", b"\n"]
    assert b"[" + b",".join(line[:-1] for line in lines) + b"]" == encode_rows(names, rows)
    assert encode_lines(names, ((), ())) == b""


def test_csv_tells_null_from_an_empty_string_and_is_read_by_the_standard_library() -> None:
    day = datetime.date(2026, 1, 2)
    rows = [[None, "", 'a "b"\r\n, c', 1, -1.5, Decimal("1.50"), day, b"\0", {"k": [1, "é"]}, "=1+1"]]
    text = encode_csv(rows).decode()
    assert text == ',"","a ""b""\r\n, c",1,-1.5,"1.50","2026-01-02","AA==","{""k"":[1,""é""]}","=1+1"\r\n'
    (read,) = csv.reader(io.StringIO(text, newline=""))
    assert read == ["", "", 'a "b"\r\n, c', "1", "-1.5", "1.50", "2026-01-02", "AA==", '{"k":[1,"é"]}', "=1+1"]
    assert encode_csv([["\ud800"]]) == b'"\\ud800"\r\n'
    assert encode_csv([list(map(alike, [[datetime.timedelta(hours=1)], [1e100]]))[0]]) == b'"01:00:00"\r\n'


def test_json_columns_in_csv() -> None:
    column = compact_json([b"true", b'"a"', b'[1.50, "\xc3\xa9"]', b'{"a": "\\ud800"}'])
    lines = encode_csv(zip(column)).decode().splitlines()
    assert lines == ["true", '"a"', '"[1.50,""é""]"', '"{""a"":""\\ud800""}"']


# Encoded rows: whatever is fast about it, the bytes are those of the standard library.
def standard(names: Sequence[str], rows: list[Sequence[Any]]) -> bytes:
    objects = [{name: to_json(value) for name, value in zip(names, row)} for row in rows]
    return json.dumps(objects, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


anything = st.characters(exclude_categories=())  # lone surrogates, too
texts = st.text(anything)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)
json_documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)
columns = st.sampled_from(
    [
        st.integers(),
        st.floats(),
        st.floats(1e-4, 1e15),
        st.decimals(allow_nan=False),
        st.dates(),
        st.datetimes(),
        st.datetimes(timezones=st.timezones()),
        st.timedeltas(datetime.timedelta(hours=-838), datetime.timedelta(hours=838)),
        st.binary(),
        texts,
        st.text(),
        st.booleans(),
        documents,
        st.one_of(st.floats(), st.datetimes(), st.text(), st.integers()),
    ]
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[tuple[Any, ...]]]:
    kinds = draw(st.lists(columns, min_size=1, max_size=4))
    names = draw(st.lists(st.sampled_from(["id", "name", 'a "name"', "π", "", "\ud800"]) | texts, min_size=len(kinds)))
    return names[: len(kinds)], draw(st.lists(st.tuples(*(st.none() | kind for kind in kinds)), max_size=5))


@given(tables())
def test_rows_have_the_bytes_of_the_standard_library(table: tuple[list[str], list[tuple[Any, ...]]]) -> None:
    names, rows = table
    assert encode_rows(names, rows) == standard(names, rows)


def written(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@given(json_documents, st.sampled_from([None, 1]), st.booleans())
def test_a_json_column_is_passed_on_without_its_blanks(document: Any, indent: int | None, ascii: bool) -> None:
    pretty, compact = (
        written(json.dumps(document, ensure_ascii=ascii, indent=blanks, separators=(",", ":")))
        for blanks in (indent, None)
    )
    lone = any("\ud800" <= character <= "\udfff" for character in json.dumps(document, ensure_ascii=False))
    expected = standard(["a"], [(document,)]) if lone else b'[{"a":%b}]' % compact
    assert encode_columns(["a"], [compact_json([pretty])]) == expected


@pytest.mark.parametrize(
    "text",
    ["18446744073709551616", "1e5", "-0", "0.10", "1e-7", "1e400", '"\\u00e9\\/"', '{"a":1,"b":2,"a":3}', "null"],
)
def test_json_that_may_be_written_in_several_ways_is_passed_on_as_it_is(text: str) -> None:
    assert encode_columns(["a"], [compact_json([written(f" {text}\n")])]) == b'[{"a":%b}]' % written(text)


@pytest.mark.parametrize("text", ['"\\ud800"', '{"\\ud800": "\ud800"}', '"\udfff"'])
def test_lone_surrogates_of_json_are_escaped(text: str) -> None:
    assert encode_columns(["a"], [compact_json([written(text)])]) == standard(["a"], [(json.loads(text),)])


def test_json_of_a_column_beside_what_has_no_utf8_form_is_the_same_document() -> None:
    assert encode_rows(["a", "b"], [(compact_json([b"[1, 2]"])[0], "\ud800")]) == b'[{"a":[1,2],"b":"\\ud800"}]'


@pytest.mark.parametrize("text", ["NaN", "[-Infinity]", '["\\ud800", 1e400]', "", "{", "[1,]", "{'a': 1}", "1 2"])
def test_what_is_no_json_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        compact_json([b"1", written(text)])


@pytest.mark.parametrize("value", [object(), 1j, bytearray(b"x"), datetime.time(1)])
def test_a_row_with_a_value_that_has_no_form_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError, match="no JSON form"):
        encode_rows(["a"], [(None,), (value,)])


def test_of_columns_that_are_called_the_same_the_last_one_counts() -> None:
    assert encode_rows(["a", "b", "a"], [(1, 2, 3), (4, 5, None)]) == b'[{"a":3,"b":2},{"a":null,"b":5}]'


def test_no_rows_are_an_empty_array() -> None:
    assert encode_rows(["a"], iter(())) == b"[]"
