"""Rows from a database, as many as one likes, for MariaDB and MySQL alike: no row is written down before it is sent."""

_DIGITS = "(SELECT 0 AS digit UNION ALL " + " UNION ALL ".join(f"SELECT {digit}" for digit in range(1, 10)) + ")"


def rows(power: int) -> str:
    """Tables that have 10 to the `power` rows together; MySQL joins them as they come only where they stand alone."""
    return ", ".join(f"{_DIGITS} AS power_{place}" for place in range(power))


def sequence(power: int) -> str:
    """A table with the numbers from 1 to 10 to the `power` in its column `seq`, in any order."""
    value = " + ".join(f"power_{place}.digit * {10 ** place}" for place in range(power))
    return f"(SELECT {value} + 1 AS seq FROM {rows(power)})"
