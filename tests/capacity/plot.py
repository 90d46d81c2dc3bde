"""The picture of a region that is lost."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib import pyplot

from tests.capacity.model import Outcome, quantile

# Colours of different brightness (Okabe and Ito, 2008), and lines of different kinds.
_STYLES = (
    {"color": "#56b4e9", "linestyle": "--"}, {"color": "#000000", "linestyle": "-"},
    {"color": "#d55e00", "linestyle": ":"},
)  # fmt: skip
_WINDOW = 2  # seconds


def draw(sites: Mapping[float, Outcome], lost: float, end: float, file: Path) -> None:
    """Draw answers per second and their p99 over time, for sites that were more or less busy."""
    pyplot.switch_backend("svg")  # no window anywhere
    font = {"font.size": 10, "axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "nowait", "svg.fonttype": "none"}
    with pyplot.rc_context(font):
        _, (rates, latencies) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5.5))
        moments = list(range(0, round(end), _WINDOW))
        for (busy, found), style in zip(sites.items(), _STYLES):
            windows: list[list[float]] = [[] for _ in moments]
            for moment, latency in zip(found.answered, found.latencies):
                if moment < end:
                    windows[int(moment / _WINDOW)].append(latency)
            label = f"{busy:.0%} busy before"
            rates.plot(moments, [len(window) / _WINDOW for window in windows], label=label, **style)
            latencies.plot(moments, [quantile(window, 0.99) for window in windows], label=label, **style)
        for axes, name in ((rates, "answers/s"), (latencies, "p99, seconds")):
            axes.axvline(lost, color="#999999")
            axes.set_ylabel(name)
            axes.set_ylim(0)
        rates.legend(loc="lower right")
        latencies.set_xlabel("seconds; the line is the loss of one of three regions")
        pyplot.savefig(file, bbox_inches="tight", metadata={"Date": None})
        pyplot.close("all")
