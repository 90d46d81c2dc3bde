"""Two sides measured in turn, and their ratio."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Ratio:
    """What came out, round by round.

    Attributes:
        what: what was measured.
        sides: the names of the two sides; the ratio is the first by the second.
        unit: of the figures.
        rounds: the figures of both sides in each round.
        bound: what the ratio should be: ("at most", 0.2); None when it is only to be seen.
    """

    what: str
    sides: tuple[str, str]
    unit: str
    rounds: Sequence[tuple[float, float]]
    bound: tuple[str, float] | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Ratio":
        """The ratio that was written as this document."""
        return cls(**{name: document[name] for name in ("what", "sides", "unit", "rounds", "bound")})

    @property
    def ratios(self) -> list[float]:
        return [first / second for first, second in self.rounds]

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def medians(self) -> tuple[float, float]:
        """The figures of both sides."""
        first, second = (statistics.median(figures) for figures in zip(*self.rounds))
        return first, second

    @property
    def holds(self) -> bool:
        if self.bound is None:
            return True
        how, limit = self.bound
        return self.median <= limit if how == "at most" else self.median >= limit

    @property
    def spread(self) -> str:
        """The ratio, and between which it lay: "2.08 (1.89 to 2.43)"."""
        return f"{self.median:.2f} ({min(self.ratios):.2f} to {max(self.ratios):.2f})"

    @property
    def wanted(self) -> str:
        """The bound, and whether it holds: "at most 0.2: yes"; "" without one."""
        return "" if self.bound is None else f"{self.bound[0]} {self.bound[1]:g}: {'yes' if self.holds else 'NO'}"

    def document(self) -> dict[str, Any]:
        """For the report, as JSON."""
        return {**asdict(self), "ratio": self.median, "ratios": self.ratios, "holds": self.holds}

    def __str__(self) -> str:
        sides = (f"{side} {figure:.4g} {self.unit}" for side, figure in zip(self.sides, self.medians))
        wanted = f", {self.wanted}" if self.wanted else ""
        return f"{self.what}: {', '.join(sides)}; ratio {self.spread} in {len(self.rounds)} rounds{wanted}"


@dataclass(frozen=True)
class Table:
    """Figures of several sides, measured in turn.

    Attributes:
        what: what was measured.
        columns: the names of the figures, with their units.
        rows: the figures of each side.
    """

    what: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[float]]

    def document(self) -> dict[str, Any]:
        """For the report, as JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [self.what, " | ".join(("", *self.columns))]
        lines += [" | ".join((name, *(f"{figure:.4g}" for figure in figures))) for name, figures in self.rows.items()]
        return "\n".join(lines)


def turn(number: int, first: Callable[[], T], second: Callable[[], T]) -> tuple[T, T]:
    """Measure both sides once; the one that begins changes from round to round."""
    if number % 2:
        b, a = second(), first()
    else:
        a, b = first(), second()
    return a, b


def alternate(rounds: int, first: Callable[[], T], second: Callable[[], T]) -> list[tuple[T, T]]:
    """Measure both sides in turn."""
    return [turn(number, first, second) for number in range(rounds)]
