"""The rows of a statement, while the database sends them.

PyMySQL calls a function for each part of a value. Here all rows that have arrived are taken at once, and what is no
row, or not whole yet, is left to PyMySQL.
"""

from collections.abc import Collection, Iterator
from typing import Any

from pymysql.connections import MySQLResult
from pymysql.constants import COMMAND

from tasks.packets import Values, take_rows
from tasks.values import conversion

Row = tuple[Any, ...]
_Result: Any = MySQLResult


class Result(_Result):  # type: ignore[misc]
    """What a statement gives; nothing when it is no query.

    Args:
        connection: of `tasks.driver`.
        statement: the SQL, with its values.
        json: the names of the columns that are JSON.

    Attributes:
        names: of the columns.
        size: bytes of the rows so far, as the database has sent them.
    """

    def __init__(self, connection: Any, statement: str, json: Collection[str]) -> None:
        super().__init__(connection)
        connection._execute_command(COMMAND.COM_QUERY, statement)
        connection._result = self
        self.init_unbuffered_query()
        columns = zip(self.fields, self.converters) if self.field_count else ()
        self.names: tuple[str, ...] = tuple(field[0] for field in self.description or ())
        self._conversions = [conversion(*how, field.name in json) for field, how in columns]
        self.size = 0

    def batches(self) -> Iterator[list[Row]]:
        """The rows, each time as many as have arrived. Raises pymysql.err.MySQLError."""
        while self.unbuffered_active:
            connection = self.connection
            rows, end = take_rows(connection.arrived(), self.field_count)
            if rows:
                connection.skip(end, len(rows))
                self.size += end
            elif (row := self._read_values()) is not None:
                rows = [row]
            else:
                return
            yield list(zip(*(convert(column) for convert, column in zip(self._conversions, zip(*rows)))))

    def _read_values(self) -> Values | None:
        """One row, when all of it is there; None behind the last."""
        packet = self.connection._read_packet()
        if self._check_packet_is_eof(packet):
            self.unbuffered_active, self.connection = False, None
            return None
        self.size += len(packet.get_all_data())
        return [packet.read_length_coded_string() for _ in range(self.field_count)]
