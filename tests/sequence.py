"""Rows from a database, as many as one likes, for MariaDB and MySQL alike."""

_DIGITS = "(SELECT 0 AS digit UNION ALL " + " UNION ALL ".join(f"SELECT {digit}" for digit in range(1, 10)) + ")"


def sequence(power: int) -> str:
    """A table with the numbers from 1 to 10 to the `power` in its column `seq`, in any order.

    It is never written down as a whole.
    """
    tables = ", ".join(f"{_DIGITS} AS power_{place}" for place in range(power))
    value = " + ".join(f"power_{place}.digit * {10 ** place}" for place in range(power))
    return f"(SELECT {value} + 1 AS seq FROM {tables})"
