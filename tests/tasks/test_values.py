"""Columns as databases describe them. No I/O."""

import struct

import pytest
from pymysql.constants import FIELD_TYPE

from nowait.rows import encode_columns
from tasks.values import describe

BINARY, UTF8MB4 = 63, 45  # character sets


def description(name: str, type_code: int, charset: int) -> bytes:
    """The packet that describes a column: https://mariadb.com/kb/en/result-set-packets/#column-definition-packet."""
    texts = [b"def", b"", b"t", b"t", name.encode(), name.encode()]
    numbers = struct.pack("<BHIBHBH", 12, charset, 255, type_code, 0, 0, 0)
    return b"".join(bytes([len(text)]) + text for text in texts) + numbers


@pytest.mark.parametrize("charset", [BINARY, UTF8MB4])
def test_a_column_of_mysqls_type_json_is_json_without_being_named(charset: int) -> None:
    (column,) = describe((description("profile", FIELD_TYPE.JSON, charset),), frozenset())
    assert not column.is_text
    values = column.convert([b'{"a": [1, 1.50]}', None, b'"text"'])
    assert encode_columns(["profile"], [values]) == b'[{"profile":{"a":[1,1.50]}},{"profile":null},{"profile":"text"}]'


def test_a_text_is_json_where_it_is_named() -> None:
    packets = (description("a", FIELD_TYPE.BLOB, UTF8MB4), description("b", FIELD_TYPE.BLOB, UTF8MB4))
    named, other = describe(packets, frozenset({"a"}))
    columns = [named.convert([b'{"a": 1}']), other.convert(['{"a": 1}'])]
    assert encode_columns(["a", "b"], columns) == b'[{"a":{"a":1},"b":"{\\"a\\": 1}"}]'
