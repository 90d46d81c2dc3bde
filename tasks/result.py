"""The rows of a statement, while the database sends them.

PyMySQL calls a function for each part of a value. Here all rows that have arrived are taken at once, and what is no
row, or not whole yet, is left to PyMySQL.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from pymysql.connections import MySQLResult
from pymysql.constants import COMMAND
from pymysql.err import InterfaceError, MySQLError

from tasks.packets import Values, decoded, take_packets, take_rows
from tasks.values import describe

Columns = Sequence[Sequence[Any]]
_Result: Any = MySQLResult


class Result(_Result):  # type: ignore[misc]
    """What a statement gives; no columns when it is no query.

    Args:
        connection: of `tasks.driver`.
        statement: the SQL, with its values.
        json: the names of the columns that are JSON.

    Attributes:
        names: of the columns.
        count: rows so far.
    """

    connection: Any

    def __init__(self, connection: Any, statement: str, json: Collection[str]) -> None:
        super().__init__(connection)
        self._json = frozenset(json)
        self.names: tuple[str, ...] = ()
        self.count = 0
        try:
            connection._execute_command(COMMAND.COM_QUERY, statement)
            connection._result = self
            self.init_unbuffered_query()
        except MySQLError:
            raise
        except BaseException:
            connection.close()  # nobody knows what of the result is still to be read
            raise

    def _get_descriptions(self) -> None:
        # A query that has been seen before is described as it was then.
        packets, size = take_packets(self.connection.arrived(), self.field_count)
        self.connection.skip(size, len(packets))
        while len(packets) < self.field_count:
            packets.append(self.connection._read_packet().get_all_data())
        columns = describe(tuple(packets), self._json)
        self.names = tuple(column.name for column in columns)
        self._texts = tuple(column.is_text for column in columns)
        self._conversions = [column.convert for column in columns]
        self.connection._read_packet()  # their end

    def batches(self) -> Iterator[Columns]:
        """The rows, each time as many as have arrived: the values of each column, as encode_columns() takes them.

        Further results of a procedure are read behind them, and dropped.

        Raises pymysql.err.MySQLError, also for what fails there, and when another statement, or the end of the
        connection, has ended the rows.
        """
        if not self.names:
            return
        connection = self.connection
        while self.unbuffered_active:
            rows, size = take_rows(self.connection.arrived(), self._texts)
            if rows:
                self.connection.skip(size, len(rows))
            elif (row := self._read_row()) is not None:
                rows = [row]
            else:
                connection.finish()
                return
            self.count += len(rows)
            yield [convert(column) for convert, column in zip(self._conversions, zip(*rows))]
        raise InterfaceError(0, "the rows were not read to their end")

    def _read_row(self) -> Values | None:
        """One row, when all of it is there; None behind the last."""
        packet = self.connection._read_packet()
        if self._check_packet_is_eof(packet):
            self.unbuffered_active, self.connection = False, None
            return None
        return decoded([packet.read_length_coded_string() for _ in self.names], self._texts)
