"""The table of figures that the fault tests print at the end."""

from collections import Counter
from dataclasses import dataclass, field

from tests.faults.load import Load, Runs

COLUMNS = ("attempted", "answered", "ok", "503", "504", "lost", "duplicated", "unexpected", "lag ms", "besides")


@dataclass
class Figures:
    """One row for each fault."""

    rows: list[tuple[str, ...]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def remark(self, fault: str, **figures: object) -> None:
        """Add figures of a fault that stand below the table, by name; floats are seconds."""
        told = ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in figures.items())
        self.remarks.append(f"{fault}: {told}")

    def add(self, fault: str, load: Load, runs: Runs, **besides: object) -> None:
        """Add the row of a fault.

        Args:
            fault: its name.
            load: what was sent meanwhile.
            runs: what the worker noted of it.
            besides: further figures, by name; floats are seconds.
        """
        tally = load.tally
        besides = {"retried": tally.retried, "unknown": tally.unknown, "run late": runs.late, **besides}
        self.rows.append(
            (
                fault,
                *(str(figure) for figure in (tally.attempted, tally.answered, tally.ok)),
                *(str(figure) for figure in (tally.refused + tally.unknown, tally.expired, tally.lost)),
                *(str(figure) for figure in (runs.duplicated, tally.unexpected)),
                f"{load.lag * 1000:.0f}",
                ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in besides.items() if value),
            )
        )

    def lines(self) -> list[str]:
        """The table, in columns, and the remarks."""
        return [*self._table(), *sorted(self.remarks)]

    def _table(self) -> list[str]:
        if not self.rows:
            return []
        table = [("fault", *COLUMNS), *sorted(self.rows)]
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        return [
            "  ".join(
                cell.ljust(width) if column in (0, len(row) - 1) else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths))
            ).rstrip()
            for row in table
        ]


def _text(value: object) -> str:
    if isinstance(value, Counter):
        return " ".join(f"{count}x{status}" for status, count in sorted(value.items()))
    return f"{value:.2f} s" if isinstance(value, float) else str(value)
