"""The picture of a soak: memory, descriptors and threads of each process over time, and the faults."""

from pathlib import Path
from typing import Any

from matplotlib import pyplot

from tests.soak.faults import FAULTS
from tests.soak.growth import Reading
from tests.soak.soak import Outcome

# Colours of different brightness (Okabe and Ito, 2008), and lines of different kinds.
_STYLES = {
    "server 1": ("#000000", "-"), "server 2": ("#000000", ":"), "worker 1": ("#d55e00", "-"),
    "worker 2": ("#d55e00", ":"), "scheduler": ("#56b4e9", "--"),
}  # fmt: skip
_FONT: dict[str, Any] = {
    "font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "nowait", "svg.fonttype": "none",
}  # fmt: skip


def draw(outcome: Outcome, file: Path) -> None:
    """Draw it."""
    pyplot.switch_backend("svg")  # no window anywhere
    with pyplot.rc_context(_FONT):
        heights = {"height_ratios": (2, 3, 2, 2)}
        _, (faults, *panes) = pyplot.subplots(4, 1, sharex=True, figsize=(11, 11), gridspec_kw=heights)
        names = list(FAULTS)[::-1]
        for fault in outcome.faults:
            row = names.index(fault.name)
            faults.plot([fault.begin / 60, fault.end / 60], [row, row], color="#d55e00", marker="|", linewidth=3)
        faults.set_yticks(range(len(names)), names)
        faults.set_ylim(-0.5, len(names) - 0.5)
        for axes, title, values in zip(panes, ("MB of its own", "descriptors", "threads"), (_memory, _files, _threads)):
            labelled: set[str] = set()
            for life in outcome.lives:
                colour, line = _STYLES[life.name]
                moments = [reading.at / 60 for reading in life.readings]
                # One label for all lives.
                label = life.name if life.name not in labelled else f"_{life.name}"
                labelled.add(life.name)
                axes.plot(moments, list(map(values, life.readings)), color=colour, linestyle=line, label=label)
            for fault in outcome.faults:
                axes.axvline(fault.begin / 60, color="#999999", linewidth=0.5)
            axes.axvspan(0, outcome.warm_up / 60, color="#999999", alpha=0.15)
            axes.set_ylabel(title)
            axes.set_ylim(0)
        panes[0].legend(loc="lower right", ncol=len(_STYLES))
        panes[-1].set_xlabel("minutes; grey: the warm-up")
        pyplot.savefig(file, bbox_inches="tight", metadata={"Date": None})
        pyplot.close("all")


def _memory(reading: Reading) -> float:
    return reading.memory


def _files(reading: Reading) -> int:
    return reading.descriptors


def _threads(reading: Reading) -> int:
    return reading.threads
