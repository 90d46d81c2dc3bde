"""The text protocol, without a database."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.packets import take_packets, take_rows


def length(number: int) -> bytes:
    if number < 0xFB:
        return bytes([number])
    return b"\xfc" + number.to_bytes(2, "little")


def packet(content: bytes, number: int = 0) -> bytes:
    return len(content).to_bytes(3, "little") + bytes([number % 256]) + content


def row(values: tuple[bytes | None, ...]) -> bytes:
    return packet(b"".join(b"\xfb" if value is None else length(len(value)) + value for value in values))


values = st.none() | st.binary() | st.sampled_from([b"x" * 250, b"x" * 251, b"\xfb" * 300, b"\xff", b"\xfe"])
tables = st.integers(1, 4).flatmap(lambda columns: st.lists(st.tuples(*[values] * columns), min_size=1))
LAST = {"end": packet(b"\xfe\x00\x00\x02\x00"), "error": packet(b"\xff\x15\x04#28000no"), "huge": b"\xff\xff\xff\x00a"}


@given(tables, st.sampled_from([b"", *LAST.values()]))
def test_rows_are_taken_up_to_what_is_none(table: list[tuple[bytes | None, ...]], last: bytes) -> None:
    data = b"".join(map(row, table))
    assert take_rows(data + last, len(table[0])) == (list(map(list, table)), len(data))


@given(tables, st.data())
def test_what_is_not_whole_is_left(table: list[tuple[bytes | None, ...]], drawn: st.DataObject) -> None:
    data = b"".join(map(row, table))
    cut = drawn.draw(st.integers(0, len(data) - 1))
    rows, end = take_rows(data[:cut], len(table[0]))
    assert rows == list(map(list, table))[: len(rows)]
    assert end == sum(len(row(values)) for values in table[: len(rows)])
    assert cut < end + len(row(table[len(rows)]))
    more, rest = take_rows(data[end:], len(table[0]))
    assert rows + more == list(map(list, table))
    assert end + rest == len(data)


@given(st.lists(st.binary(min_size=1)), st.integers(0, 5), st.integers(0, 50))
def test_packets_are_taken_as_far_as_they_are_whole(contents: list[bytes], count: int, cut: int) -> None:
    data = b"".join(map(packet, contents))
    found, end = take_packets(data, count)
    assert found == contents[:count]
    assert data[:end] == b"".join(map(packet, found))
    some, end = take_packets(data[:cut], count)
    assert some == contents[: len(some)]
    assert end <= cut
