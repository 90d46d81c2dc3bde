"""The comparison: `python -m tests.bench --help`."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from deploy.local.errors import LocalError
from tests.bench import (
    beat_sides,
    beats,
    bridge,
    job_sides,
    jobs,
    messages,
    metrics,
    pair,
    report,
    schedules,
    sizes,
    traces,
    variants,
    worker,
)
from tests.bench.ratio import Ratio, Table
from tests.bench.results import Results, Step, about
from tests.bench.site import ROOT, Site
from tests.bench.tools import LoadError

_FIGURES = (
    *bridge.MEASUREMENTS, *worker.MEASUREMENTS, *jobs.MEASUREMENTS, *schedules.MEASUREMENTS, *messages.MEASUREMENTS,
    *metrics.MEASUREMENTS, *traces.MEASUREMENTS,
)  # fmt: skip
MEASUREMENTS = {measurement.__name__: measurement for measurement in _FIGURES}
SECTIONS = ("peers", "variants", "sizes", "jobs")
LONG = ("beats",)  # only when they are asked for
# How long the measurements take, roughly.
_SECONDS = {
    "sending": 5.0, "serving": 34.0, "serving_echo": 34.0, "in_flight": 15.0, "isolation": 80.0, "tasks_threads": 23.0,
    "tasks_solo": 20.0, "tasks_prefork": 23.0, "processes": 27.0, "pools": 115.0,
    "jobs_wait": 25.0, "jobs_idle": 40.0, "jobs_million": 100.0, "schedules": 80.0, "messages": 75.0,
    "metrics": 30.0, "traces": 27.0,
}  # fmt: skip
_OUTPUT = ROOT / "bench"


def main() -> int:
    """Measure and write the report. Returns the exit status: 0 when all was measured, 1 otherwise."""
    names = [*SECTIONS, *LONG, *MEASUREMENTS]
    sides = list(dict.fromkeys([*variants.TITLES, *pair.PEERS, *job_sides.PEERS, *beat_sides.SIDES]))
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="How ways to wait for a query compare, on this machine, now. Writes bench/report.md and .html.",
        epilog="parts: peers, variants, sizes, jobs; beats, which takes 12 minutes; or single figures:\n"
        + "\n".join(f"  {name:12} {measurement.__doc__}" for name, measurement in MEASUREMENTS.items())
        + f"\nsides of the first five: {', '.join(sides)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="less of it, in shorter rounds: under 2 minutes")
    parser.add_argument("--only", default="", help="some parts, or some sides, by commas; all but beats otherwise")
    parser.add_argument("--output", type=Path, default=_OUTPUT, help="the folder of the report; bench/ otherwise")
    options = parser.parse_args()
    chosen = {name for name in options.only.split(",") if name}
    if unknown := chosen - {*names, *sides}:
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}; there are {', '.join([*names, *sides])}")
    usual = {"peers", "variants", "sending"} if options.quick else set(names) - set(LONG)
    parts = chosen & set(names) or ({*SECTIONS, *LONG} if chosen else usual)
    if "jobs" in chosen:
        parts |= {measurement.__name__ for measurement in jobs.MEASUREMENTS}
    only = chosen & set(sides) or set(sides)
    # A shell's background processes inherit SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    results = Results(about(options.quick))
    status = 1
    try:
        with tempfile.TemporaryDirectory(prefix="nowait-bench-") as folder, Site(Path(folder)) as site:
            status = _run(steps(site, parts, only, options.quick), results)
    except LocalError as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted: the report has what was done", file=sys.stderr)
    for figure in results.figures:
        print(Table(**figure) if "rows" in figure else Ratio.of(figure))
    if results.peers or results.missing:
        print(report.peers_table(results))
        print(report.cpu_table(results))
    if results.isolation:
        print(report.isolation_table(results))
    if results.sizes:
        print(report.sizes_table(results))
    if results.beside:
        print(report.beside_table(results))
    if results.jobs:
        print(report.jobs_table(results))
    if results.beats:
        print(report.beats_table(results))
    print(f"report: {report.write(results, options.output)}, and as HTML beside it")
    return status


def steps(site: Site, parts: set[str], only: set[str], quick: bool) -> list[Step]:
    """What is to be done, in its order; what each part has started is stopped before the next."""
    found: list[Step] = []
    if "peers" in parts:
        for name in pair.PEERS:
            if name in only:
                found += pair.Pair(site, name, quick).steps()
    if "variants" in parts:
        # asyncmy differs from aiomysql by the size of the answer.
        names = [name for name in variants.TITLES if name in only and name != "asyncmy"]
        found += variants.Variants(site, names, quick).steps()
    if "sizes" in parts:
        found += sizes.Sizes(site, [name for name in sizes.SIDES if name in only], quick).steps()
    if "jobs" in parts:
        for name in job_sides.PEERS:
            if name in only:
                found += jobs.Jobs(site, name, quick).steps()
    if "beats" in parts:
        for name in beat_sides.SIDES:
            if name in only:
                found += beats.Beats(site, name, quick).steps()
    return found + [_figure_step(site, name, quick) for name in MEASUREMENTS if name in parts]


def _figure_step(site: Site, name: str, quick: bool) -> Step:
    def run(results: Results) -> None:
        try:
            results.figures += [figure.document() for figure in MEASUREMENTS[name](site, quick)]
        finally:
            site.clear()

    return Step(name, _SECONDS[name] / (4 if quick else 1), run)


def _run(todo: Sequence[Step], results: Results) -> int:
    """Take one step after the other; a bar tells how far it is. What fails is noted, and left out."""
    form = "{desc:36} {percentage:3.0f} %|{bar}| {elapsed} gone, {remaining} left"
    with tqdm(total=sum(step.seconds for step in todo), bar_format=form, leave=False, smoothing=0) as bar:
        for step in todo:
            bar.set_description_str(step.name)
            try:
                step.run(results)
            except (LoadError, LocalError) as error:
                results.failed[step.name] = str(error)[:500]
            bar.update(step.seconds)
    for what, why in results.failed.items():
        print(f"{what}: {why}", file=sys.stderr)
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
