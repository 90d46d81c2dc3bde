"""The text protocol: packets to the values that are in them. No I/O.

A packet is three bytes of length, a number, and its content. That of a row is for each column a length and as many
bytes, see https://mariadb.com/kb/en/resultset-row/.
"""

import io
from collections.abc import Callable, Sequence

from pymysql.err import InternalError

try:
    from asyncmy.errors import InternalError as _Malformed
    from asyncmy.protocol import parse_rows_from_buffer

    _IN_C = True
except ImportError:  # there is no wheel of it, or one without that function
    _IN_C = False

ENCODING = "utf-8"  # of text, on a connection with utf8mb4
_HEADER = 4  # bytes
_LONGEST = 0xFFFFFF  # bytes of a packet; one of that length goes on in the next
_NULL = 0xFB
_WIDTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}  # bytes of a length, by the byte in front of it
_END, _ERROR = 0xFE, 0xFF  # the first byte of the packets that are no rows
_LONGEST_END = 8  # bytes; a longer packet with that first byte is a row

# What asyncmy makes of a value.
_AS_BYTES, _AS_TEXT = (0, "", None), (1, ENCODING, None)

Values = Sequence[bytes | str | None]


def take_packets(data: bytes, count: int) -> tuple[list[bytes], int]:
    """The first so many packets of `data`, and where they end; fewer when not all of them are there, and whole."""
    packets: list[bytes] = []
    start, size = 0, len(data)
    while len(packets) < count and start + _HEADER < size:
        length = int.from_bytes(data[start : start + _HEADER], "little") & _LONGEST
        end = start + _HEADER + length
        if end > size or length == _LONGEST:
            break
        packets.append(data[start + _HEADER : end])
        start = end
    return packets, start


def take_rows(data: bytes, texts: Sequence[bool]) -> tuple[list[Values], int]:
    """The rows at the beginning of `data`, and where they end.

    That is in front of a packet that is no row, is not whole, is not the next one, or goes on in another. asyncmy reads
    them in C, where it is installed.

    Args:
        texts: for each column, whether its values are text rather than bytes.

    Raises pymysql.err.InternalError when a row ends before its last value, UnicodeDecodeError when a text is none.
    """
    if not _IN_C or len(data) < _HEADER:
        return take_rows_in_python(data, texts)
    rows: list[Values] = []
    forms = tuple([_AS_TEXT if is_text else _AS_BYTES for is_text in texts])
    try:
        end, _ = parse_rows_from_buffer(bytearray(data), 0, len(data), forms, data[_HEADER - 1], rows)
    except _Malformed as error:
        raise InternalError(str(error)) from error
    return rows, end


def take_rows_in_python(data: bytes, texts: Sequence[bool]) -> tuple[list[Values], int]:
    """The same as take_rows(), without asyncmy, of rows that have all their values."""
    rows: list[Values] = []
    start, size = 0, len(data)
    # To read is faster than to cut.
    read = io.BytesIO(data).read
    while start + _HEADER < size:
        length = int.from_bytes(read(_HEADER), "little") & _LONGEST
        end = start + _HEADER + length
        first = data[start + _HEADER]
        if end > size or length == _LONGEST or first == _ERROR or first == _END and length <= _LONGEST_END:
            break
        values = [
            read(n) if (n := ord(read(1))) < _NULL else None if n == _NULL else _read_long(read, n) for _ in texts
        ]
        rows.append(decoded(values, texts))
        start = end
    return rows, start


def decoded(values: Sequence[bytes | None], texts: Sequence[bool]) -> Values:
    """The values of a row, of which some are text."""
    return [value.decode(ENCODING) if is_text and value is not None else value for value, is_text in zip(values, texts)]


def _read_long(read: Callable[[int], bytes], first: int) -> bytes:
    return read(int.from_bytes(read(_WIDTHS[first]), "little"))
