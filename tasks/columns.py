"""The columns of a statement as JSON Schema of its rows, read without running it."""

import struct
from collections.abc import Collection
from typing import Any

from pymysql import converters
from pymysql.constants import COMMAND, FIELD_TYPE, FLAG
from pymysql.protocol import FieldDescriptorPacket

from tasks.packets import ENCODING

# Behind its status: the statement's number, its columns, its parameters.
# https://mariadb.com/kb/en/com_stmt_prepare/
_PREPARED = struct.Struct("<xIHH")
_ANY = {FIELD_TYPE.JSON, FIELD_TYPE.NULL}
_KINDS: dict[Any, str] = {int: "integer", float: "number"}


def read_row_schema(connection: Any, statement: str, json: Collection[str]) -> dict[str, Any] | None:
    """JSON Schema of a row of a statement; None for one that gives no rows.

    Args:
        connection: of `tasks.driver`.
        statement: the SQL, with its values: a placeholder has no type.
        json: the names of the columns that are JSON.

    Raises pymysql.err.MySQLError when the database does not prepare the statement.
    """
    connection._execute_command(COMMAND.COM_STMT_PREPARE, statement)
    number, columns, parameters = _PREPARED.unpack_from(connection._read_packet().get_all_data())
    _read(connection, parameters)
    fields = _read(connection, columns)
    connection._execute_command(COMMAND.COM_STMT_CLOSE, struct.pack("<I", number))  # is not answered
    return row_schema([FieldDescriptorPacket(packet, ENCODING) for packet in fields], json) if fields else None


def row_schema(fields: Collection[Any], json: Collection[str]) -> dict[str, Any]:
    """JSON Schema of an object with a value of each column, as nowait.rows writes it.

    Args:
        fields: PyMySQL's descriptions of the columns.
        json: the names of those that are JSON.
    """
    properties = {field.name: {} if field.name in json else _schema(field) for field in fields}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _schema(field: Any) -> dict[str, Any]:
    if field.type_code in _ANY:
        return {}
    kind = _KINDS.get(converters.decoders.get(field.type_code, str), "string")
    return {"type": kind} if field.flags & FLAG.NOT_NULL else {"type": [kind, "null"]}


def _read(connection: Any, count: int) -> list[bytes]:
    """So many packets, and the one that stands behind them if there are any."""
    packets = [connection._read_packet().get_all_data() for _ in range(count)]
    if packets:
        connection._read_packet()
    return packets
