"""Rows of the text protocol: bytes to values. No I/O.

A packet is three bytes of length, a number, and a row; a row is for each column a length and as many bytes, see
https://mariadb.com/kb/en/resultset-row/.
"""

HEADER = 4  # bytes
LONGEST = 0xFFFFFF  # bytes of a packet; one of that length goes on in the next
_NULL = 0xFB
_WIDTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}  # bytes of a length, by the byte in front of it
_END, _ERROR = 0xFE, 0xFF  # the first byte of the packets that are no rows
_LONGEST_END = 8  # bytes; a longer packet with that first byte is a row

Values = list[bytes | None]


def take_rows(data: bytes, columns: int) -> tuple[list[Values], int]:
    """The rows at the beginning of `data`, and where they end.

    That is in front of a packet that is no row, is not whole, or goes on in the next.
    """
    rows = []
    start, size = 0, len(data)
    while start + HEADER < size:
        length = int.from_bytes(data[start : start + 3], "little")
        position = start + HEADER
        if position + length > size or length == LONGEST or is_last(data[position], length):
            break
        row: Values = []
        for _ in range(columns):
            count = data[position]
            position += 1
            if count >= _NULL:
                if count == _NULL:
                    row.append(None)
                    continue
                width = _WIDTHS[count]
                count = int.from_bytes(data[position : position + width], "little")
                position += width
            end = position + count
            row.append(data[position:end])
            position = end
        rows.append(row)
        start += HEADER + length
    return rows, start


def is_last(first: int, length: int) -> bool:
    """Whether a packet of that first byte and length ends the rows: as the last one, or with an error."""
    return first == _ERROR or first == _END and length <= _LONGEST_END
