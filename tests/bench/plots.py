"""The pictures of a report. Lines differ in style and mark, too: they survive a printer without colours."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.axes import Axes

from tests.bench import pair, peer, sizes, variants
from tests.bench.results import Results

# Colours of different brightness, told apart by all kinds of eyes (Okabe and Ito, 2008).
_STYLES: dict[str, dict[str, Any]] = {
    "blocking": {"color": "#d55e00", "linestyle": ":", "marker": "s"},
    "threads": {"color": "#e69f00", "linestyle": "-.", "marker": "^"},
    "aiomysql": {"color": "#56b4e9", "linestyle": "--", "marker": "D"},
    "asyncmy": {"color": "#009e73", "linestyle": "--", "marker": "v"},
    "bridge": {"color": "#000000", "linestyle": "-", "marker": "o"},
}
_PARTS = {"server": ("#000000", ""), "worker": ("#56b4e9", "//"), "broker": ("#f0e442", "..")}
_FONT = {"font.size": 10, "axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "nowait", "svg.fonttype": "none"}


def draw(results: Results, folder: Path) -> list[tuple[str, str]]:
    """Draw what there are figures for. Returns each picture's file name and what it shows."""
    pictures = []
    pyplot.switch_backend("svg")  # no window anywhere
    with pyplot.rc_context(_FONT):
        for name, caption, there, paint in (
            ("peers", "Requests per second of a task that returns its argument", results.peers, _peers),
            ("cpu", "Where the CPU time of such a request goes", results.peers, _cpu),
            ("isolation", "Latency of /i_want_you_now around five slow queries", results.isolation, _isolation),
            ("throughput", "Requests per second of the same query", results.cells, _throughput),
            ("sizes", "Requests per second by size of answer", results.sizes, _sizes),
            ("latency", "Latency of a 10 ms query, 50 requests a second", results.latency, _latency),
        ):
            if there:
                paint(results)
                pyplot.suptitle(caption, fontsize=12)
                pyplot.savefig(folder / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
                pyplot.close("all")
                pictures.append((f"{name}.svg", caption))
    return pictures


def _peers(results: Results) -> None:
    names = list(results.peers)[::-1]
    _, axes = pyplot.subplots(figsize=(8, 0.8 * len(names) + 1.2))
    for side, (label, colour) in enumerate(((peer.TITLES[pair.LEAN], "#000000"), ("the other", "#999999"))):
        rates = [[both[side]["per_second"] for both in results.peers[name]] for name in names]
        medians = [statistics.median(rate) for rate in rates]
        spread = [
            [median - min(rate) for median, rate in zip(medians, rates)],
            [max(rate) - median for median, rate in zip(medians, rates)],
        ]
        places = [at + 0.2 - 0.4 * side for at in range(len(names))]
        axes.barh(places, medians, 0.4, xerr=spread, color=colour, ecolor="#d55e00", capsize=3, label=label)
        for at, rate, median in zip(places, rates, medians):
            axes.annotate(f"{median:,.0f}", (max(rate), at), xytext=(6, -3), textcoords="offset points")
    axes.set_yticks(range(len(names)), [peer.TITLES[name] for name in names])
    axes.margins(x=0.15)
    axes.set_xlabel("requests per second, 50 connections: median, least and most of the rounds")
    axes.grid(axis="y", visible=False)
    pyplot.figlegend(loc="lower center", ncol=2, bbox_to_anchor=(0.5, -0.06))


def _cpu(results: Results) -> None:
    # From the bottom up; our own side has the rounds of all pairs.
    sides = {name: [one for _, one in rounds] for name, rounds in reversed(results.peers.items())}
    sides[pair.LEAN] = [one for rounds in results.peers.values() for one, _ in rounds]
    names = list(sides)
    _, axes = pyplot.subplots(figsize=(8, 0.5 * len(names) + 1.4))
    left = [0.0] * len(names)
    for part, (colour, hatch) in _PARTS.items():
        widths = [statistics.median(one["cpu"].get(part, 0.0) for one in rounds) for rounds in sides.values()]
        axes.barh(
            [peer.TITLES[name] for name in names], widths, left=left, color=colour, hatch=hatch, edgecolor="white",
            label=part,
        )  # fmt: skip
        left = [start + width for start, width in zip(left, widths)]
    axes.set_xlabel("microseconds of CPU per request (worker: with Redis, where results go there)")
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower right")


def _isolation(results: Results) -> None:
    _, axes = pyplot.subplots(figsize=(8, 4))
    for name, answers in results.isolation.items():
        worst: dict[int, float] = defaultdict(float)
        for sent, milliseconds in answers:
            worst[int(sent)] = max(worst[int(sent)], milliseconds)
        seconds = sorted(worst)
        _line(axes, name, [second + 0.5 for second in seconds], [worst[second] for second in seconds])
    axes.axvline(variants.BEFORE, color="#999999", linewidth=1)
    axes.annotate(
        " five queries of 1 s begin", (variants.BEFORE, 0), xycoords=("data", "axes fraction"), xytext=(0, 5),
        textcoords="offset points", fontsize=9,
    )  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlabel("seconds")
    axes.set_ylabel("slowest answer to what was sent in that second, ms")
    axes.legend(loc="upper right")


def _throughput(results: Results) -> None:
    delays = sorted({cell["delay"] for cell in results.cells})
    _, grid = pyplot.subplots(1, len(delays), figsize=(3.2 * len(delays) + 0.6, 3.8), sharey=True, squeeze=False)
    for delay, axes in zip(delays, grid[0]):
        for name in _STYLES:
            cells = [cell for cell in results.cells if (cell["variant"], cell["delay"]) == (name, delay)]
            if cells:
                _line(axes, name, [cell["connections"] for cell in cells], [_at_least(cell) for cell in cells])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(f"query sleeps {delay * 1000:g} ms" if delay else "query sleeps not", fontsize=10)
        axes.set_xlabel("connections")
    grid[0][0].set_ylabel("requests per second")
    pyplot.figlegend(*grid[0][0].get_legend_handles_labels(), loc="lower center", ncol=4, bbox_to_anchor=(0.5, -0.1))


def _at_least(cell: dict[str, Any]) -> float:
    # Nothing has no place on a logarithmic axis.
    return max(0.1, float(cell["per_second"]))


def _latency(results: Results) -> None:
    _, axes = pyplot.subplots(figsize=(8, 4))
    ticks = ["50", "75", "90", "95", "99", "99.9"]
    for name, found in results.latency.items():
        _line(axes, name, range(len(ticks)), [found[tick] for tick in ticks])
    axes.set_ylim(bottom=0)
    axes.set_xticks(range(len(ticks)), [f"{tick} %" for tick in ticks])
    axes.set_xlabel("of the answers took at most")
    axes.set_ylabel("milliseconds")
    axes.legend()


def _sizes(results: Results) -> None:
    _, axes = pyplot.subplots(figsize=(8, 4))
    places = sorted(results.sizes, key=int)
    for name in sizes.SIDES:
        found = [(at, results.sizes[rows]["sides"].get(name)) for at, rows in enumerate(places)]
        measured = [(at, max(0.1, statistics.median(rates))) for at, rates in found if rates]
        if measured:
            _line(axes, name, *zip(*measured))
    labels = [f"{int(rows):,} rows\n{results.sizes[rows]['bytes']:,} bytes" for rows in places]
    axes.set_xticks(range(len(places)), labels)
    axes.set_yscale("log")
    axes.set_ylabel("requests per second")
    axes.legend()


def _line(axes: Axes, name: str, x: Sequence[float] | range, y: Sequence[float]) -> None:
    axes.plot(x, y, label=variants.TITLES[name], markersize=5, **_STYLES[name])
