"""Reads metrics as Prometheus does."""

from prometheus_client.parser import text_string_to_metric_families

from tests.http import fetch


class Scrape:
    """All that one address gives.

    Attributes:
        families: each metric's name without the ends of its samples, with its type.
    """

    def __init__(self, text: str) -> None:
        self.families: dict[str, str] = {}
        self._values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(text):
            self.families[family.name] = family.type
            for sample in family.samples:
                self._values[sample.name, frozenset(sample.labels.items())] = sample.value

    def __getitem__(self, name: str) -> float:
        """The only value of a name."""
        return self.of(name)

    def of(self, name: str, **labels: str) -> float:
        """The value of a name with exactly these labels. Raises KeyError."""
        return self._values[name, frozenset(labels.items())]

    def get(self, name: str, **labels: str) -> float:
        """The same; 0 where there is none."""
        return self._values.get((name, frozenset(labels.items())), 0.0)

    def names(self) -> set[str]:
        """The names of all samples, as expressions have them."""
        return {name for name, _ in self._values}

    def labels(self, name: str) -> list[dict[str, str]]:
        """The labels of all values of a name."""
        return [dict(labels) for each, labels in self._values if each == name]


def scrape(port: int) -> Scrape:
    """What is given at the moment."""
    answer = fetch(f"http://127.0.0.1:{port}/metrics")
    assert answer.status == 200
    return Scrape(answer.body.decode())
