"""Two sides measured in turn, and their ratio."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """What came out, round by round.

    Attributes:
        what: what was measured.
        sides: the names of the two sides; the ratio is the first by the second.
        unit: of the figures.
        rounds: the figures of both sides in each round.
        bound: what the ratio should be: ("at most", 0.2).
    """

    what: str
    sides: tuple[str, str]
    unit: str
    rounds: Sequence[tuple[float, float]]
    bound: tuple[str, float]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Ratio":
        """The ratio that was written as this document."""
        return cls(**{name: document[name] for name in ("what", "sides", "unit", "rounds", "bound")})

    @property
    def ratios(self) -> list[float]:
        return [first / second for first, second in self.rounds]

    @property
    def holds(self) -> bool:
        how, limit = self.bound
        median = statistics.median(self.ratios)
        return median <= limit if how == "at most" else median >= limit

    def document(self) -> dict[str, Any]:
        """For the report, as JSON."""
        return {**asdict(self), "ratio": statistics.median(self.ratios), "ratios": self.ratios, "holds": self.holds}

    def __str__(self) -> str:
        first, second = (statistics.median(figures) for figures in zip(*self.rounds))
        how, limit = self.bound
        return (
            f"{self.what}: {self.sides[0]} {first:.4g} {self.unit}, {self.sides[1]} {second:.4g} {self.unit}; "
            f"ratio {statistics.median(self.ratios):.2f} ({min(self.ratios):.2f} to {max(self.ratios):.2f} in "
            f"{len(self.rounds)} rounds), {how} {limit:g}: {'yes' if self.holds else 'NO'}"
        )


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


def alternate(rounds: int, first: Callable[[], float], second: Callable[[], float]) -> list[tuple[float, float]]:
    """Measure both sides in turn; the one that begins changes from round to round."""
    figures = []
    for number in range(rounds):
        if number % 2:
            b, a = second(), first()
        else:
            a, b = first(), second()
        figures.append((a, b))
    return figures
