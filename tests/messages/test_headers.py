"""Application headers, decoded; what goes in is encoded by py-amqp, which says what has to come out, too."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from amqp.serialization import dumps, loads
from hypothesis import given
from hypothesis import strategies as st

from nowait.messages.headers import decode_headers

names = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
)


def encoded(headers: Any) -> bytes:
    return bytes(dumps("F", (headers,)))


@given(st.dictionaries(names, values))
def test_headers_are_decoded_as_py_amqp_decodes_them(headers: dict[str, Any]) -> None:
    table = encoded(headers)
    assert decode_headers(table) == loads("F", table, 0)[0][0]


def test_what_celery_seldom_sends_is_decoded_too() -> None:
    headers = {"at": datetime(2030, 1, 2), "price": Decimal("1.5"), "bytes": b"\xff", "half": 0.5, "list": [b"x", 1]}
    assert decode_headers(encoded(headers)) == loads("F", encoded(headers), 0)[0][0]


@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"\x00\x00\x00\x10",
        b"\x00\x00\x00\x03\x01a?",
        b"\x00\x00\x00\x07\x01aS\x00\x00\x01\x00",
    ],
    ids=["nothing", "cut short", "an unknown kind", "a text cut short"],
)
def test_what_is_no_table_is_a_value_error_or_what_py_amqp_makes_of_it(table: bytes) -> None:
    try:
        expected = loads("F", table, 0)[0][0]
    except Exception:
        with pytest.raises(ValueError, match="table"):
            decode_headers(table)
    else:
        assert decode_headers(table) == expected


def test_a_time_stamp_of_no_day_is_its_number() -> None:
    milliseconds = 1_800_000_000_000
    others = {"price": Decimal("1.5"), "bytes": b"\xff", "half": 0.5, "count": 1, "list": [{"x": None}]}
    fields = encoded(others)[4:] + b"\x01aT" + milliseconds.to_bytes(8, "big") + b"\x01bS\x00\x00\x00\x01\xfe\x01cB\xff"
    table = len(fields).to_bytes(4, "big") + fields
    assert decode_headers(table) == {**others, "a": milliseconds, "b": b"\xfe", "c": 255}


@given(st.binary(max_size=12), st.sampled_from(b"IlLbsBuUifdSVtAFTDx"))
def test_a_value_of_any_kind_is_as_py_amqp_reads_it(data: bytes, kind: int) -> None:
    table = (len(data) + 3).to_bytes(4, "big") + b"\x01a" + bytes([kind]) + data
    try:
        expected = loads("F", table, 0)[0][0]
    except Exception:
        return
    found = decode_headers(table)
    assert repr(found) == repr(dict(expected))


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    table = len(data).to_bytes(4, "big") + data
    try:
        assert isinstance(decode_headers(table), dict)
    except ValueError:
        pass


def test_a_table_that_is_nested_too_deeply_is_a_value_error() -> None:
    deep = b""
    for _ in range(5000):
        deep = b"\x01aF" + len(deep).to_bytes(4, "big") + deep
    with pytest.raises(ValueError, match="RecursionError"):
        decode_headers(len(deep).to_bytes(4, "big") + deep)
