"""The text protocol, without a database."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysql.err import InternalError

from tasks.packets import take_packets, take_rows, take_rows_in_python

Row = Sequence[bytes | None]
Take = Callable[[bytes, Sequence[bool]], tuple[Sequence[Any], int]]


def length(number: int) -> bytes:
    if number < 0xFB:
        return bytes([number])
    return b"\xfc" + number.to_bytes(2, "little")


def packet(content: bytes, number: int = 0) -> bytes:
    return len(content).to_bytes(3, "little") + bytes([number % 256]) + content


def row(values: Row, number: int = 0) -> bytes:
    return packet(b"".join(b"\xfb" if value is None else length(len(value)) + value for value in values), number)


def written(table: Sequence[Row]) -> bytes:
    return b"".join(row(values, number) for number, values in enumerate(table, 250))


def as_bytes(table: Sequence[Row]) -> list[bool]:
    return [False] * len(table[0])


def tuples(rows: Sequence[Row]) -> list[tuple[bytes | None, ...]]:
    return list(map(tuple, rows))


values = st.none() | st.binary() | st.sampled_from([b"x" * 250, b"x" * 251, b"\xfb" * 300, b"\xff", b"\xfe"])
tables = st.integers(1, 4).flatmap(lambda columns: st.lists(st.tuples(*[values] * columns), min_size=1))
LAST = {"end": packet(b"\xfe\x00\x00\x02\x00"), "error": packet(b"\xff\x15\x04#28000no"), "huge": b"\xff\xff\xff\x00a"}
both_ways = pytest.mark.parametrize("take", [take_rows, take_rows_in_python])


@both_ways
@given(tables, st.sampled_from([b"", *LAST.values()]))
def test_rows_are_taken_up_to_what_is_none(take: Take, table: list[Row], last: bytes) -> None:
    rows, end = take(written(table) + last, as_bytes(table))
    assert (tuples(rows), end) == (table, len(written(table)))


@both_ways
@given(tables, st.data())
def test_what_is_not_whole_is_left(take: Take, table: list[Row], drawn: Any) -> None:
    data = written(table)
    cut = drawn.draw(st.integers(0, len(data) - 1))
    rows, end = take(data[:cut], as_bytes(table))
    assert tuples(rows) == table[: len(rows)]
    assert end == len(written(table[: len(rows)]))
    assert cut < len(written(table[: len(rows) + 1]))
    more, rest = take(data[end:], as_bytes(table))
    assert tuples(rows) + tuples(more) == table
    assert end + rest == len(data)


@both_ways
def test_a_column_of_text_is_decoded(take: Take) -> None:
    data = written([["ü 🐇".encode(), b"\xff", None], [b"x" * 300, b"", b"a"]])
    rows, end = take(data, [True, False, True])
    assert (tuples(rows), end) == ([("ü 🐇", b"\xff", None), ("x" * 300, b"", "a")], len(data))
    with pytest.raises(UnicodeDecodeError):
        take(data, [True, True, True])


def test_a_packet_out_of_its_order_is_left() -> None:
    assert take_rows(row([b"a"], 1) + row([b"b"], 3), [False]) == ([(b"a",)], len(row([b"a"])))


def test_a_row_with_too_few_values_is_an_error() -> None:
    with pytest.raises(InternalError):
        take_rows(row([b"a"]), [False, False])


@given(st.lists(st.binary(min_size=1)), st.integers(0, 5), st.integers(0, 50))
def test_packets_are_taken_as_far_as_they_are_whole(contents: list[bytes], count: int, cut: int) -> None:
    data = b"".join(map(packet, contents))
    found, end = take_packets(data, count)
    assert found == contents[:count]
    assert data[:end] == b"".join(map(packet, found))
    some, end = take_packets(data[:cut], count)
    assert some == contents[: len(some)]
    assert end <= cut
