"""The report of a run: Markdown, the same as HTML, and the raw figures."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import markdown

from tests.bench import beat_script, job_sides, jobs, pair, peer, plots, sizes, variants
from tests.bench.beat_counts import GRACE
from tests.bench.ratio import Ratio
from tests.bench.results import Results
from tests.bench.site import OURS, STOCK, THREADS

_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #111 }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .75rem; text-align: left }
td { font-variant-numeric: tabular-nums }
img { max-width: 100% }
"""


def write(results: Results, folder: Path) -> Path:
    """Write report.md, report.html, report.json and the pictures; returns the first of them."""
    folder.mkdir(parents=True, exist_ok=True)
    results.write(folder / "report.json")
    text = "\n\n".join(_parts(results, plots.draw(results, folder))) + "\n"
    file = folder / "report.md"
    file.write_text(text)
    body = markdown.markdown(text, extensions=["tables"])
    (folder / "report.html").write_text(
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Nowait: the comparison</title>\n'
        f"<style>\n{_STYLE}</style>\n{body}\n</html>\n"
    )
    return file


def _parts(results: Results, pictures: Sequence[tuple[str, str]]) -> Iterable[str]:
    drawn = {name: f"![{caption}]({name})\n\n*{caption}*" for name, caption in pictures}
    about = results.about
    yield "# Nowait: the comparison"
    yield (
        f"{about['date']}, revision {about['revision']}, {about['run']} run. {about['machine']}, {about['system']}. "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
        + "."
    )
    if results.peers or results.missing:
        yield "## Ways to await a task"
        yield (
            "A task that returns its argument, 50 connections, wrk; the same broker, one worker process each. "
            "This bridge with Nowait's worker is measured with one peer after the other: both are started, take turns, "
            "and are stopped before the next pair. Ratios, ours by theirs, are taken round by round: median (least to "
            f"most). Each body is compared. Celery's workers have {THREADS} threads, and fetch {STOCK.prefetch} "
            f"messages ahead; Nowait's has as many, and fetches {OURS.prefetch}; those of taskiq, FastStream and "
            "aio-pika take 100 at once on their loop."
        )
        yield peers_table(results)
        if results.peers:
            yield "Microseconds of CPU per request, ours : theirs = ratio (worker: with Redis, where results go there):"
            yield cpu_table(results)
        yield from (drawn[name] for name in ("peers.svg", "cpu.svg") if name in drawn)
    if results.isolation:
        yield "## What waits for whom"
        yield (
            "`/i_want_you_now`, which has nothing to do, is asked for 50 times a second; after "
            f"{variants.BEFORE:g} seconds come five queries of one second each."
        )
        yield isolation_table(results)
        yield drawn["isolation.svg"]
    if results.cells:
        yield "## The same query, four ways"
        yield (
            "Requests per second by wrk, by the seconds that the query sleeps and the number of connections. One "
            "server process, with up to 2,000 calls in flight; where it might leave work behind, the next measurement "
            "has a new one."
        )
        yield _cells(results)
        yield drawn["throughput.svg"]
        bad = [cell for cell in results.cells if cell["failed"] or cell["wrong"] or cell["timeouts"]]
        yield "Every answer was right." if not bad else _bad(bad)
    if results.sizes:
        yield "## By size of answer"
        yield (
            "Requests per second by wrk; all sides encode their rows alike. Ratios are those of the bridge to the "
            "others, by the medians of the rounds."
        )
        yield sizes_table(results)
        yield drawn["sizes.svg"]
    if results.beside:
        yield "`/i_want_you_now`, 100 times a second, while 4 connections fetch answers of a size; milliseconds:"
        yield beside_table(results)
    if results.classic:
        tools = list(next(iter(results.classic.values())))
        yield "By the classic tools, with a query of 100 ms:"
        rows = [
            [variants.TITLES[name], *(f"{found[tool]:.1f}" for tool in tools)]
            for name, found in results.classic.items()
        ]
        yield table(["requests per second", *tools], rows)
    if results.latency:
        yield "## How late"
        yield "A query of 10 ms, 50 requests a second whatever comes back (k6); milliseconds."
        ticks = [tick for tick in next(iter(results.latency.values())) if tick != "failed"]
        rows = [
            [variants.TITLES[name], *(f"{found[tick]:.1f}" for tick in ticks), f"{found['failed']:.0f}"]
            for name, found in results.latency.items()
        ]
        yield table(["", *(f"{tick} %" if tick != "100" else "most" for tick in ticks), "failed"], rows)
        yield drawn["latency.svg"]
    if results.figures:
        yield "## The figures of bridge and worker"
        yield _figures(Ratio.of(figure) for figure in results.figures if "rounds" in figure)
        for figure in results.figures:
            if "rows" in figure:
                yield f"{figure['what']}:"
                yield table(
                    ["", *figure["columns"]],
                    [[name, *(f"{value:.4g}" for value in values)] for name, values in figure["rows"].items()],
                )
    if results.jobs:
        yield "## Durable jobs"
        yield (
            "A job that only returns, accepted with 202 for 50 connections, wrk; one server, and one worker with "
            f"{THREADS} threads or processes. Both are started, take turns, and are stopped before the next pair. Done "
            "are jobs with a result, until the last. CPU is of server, worker (with Redis), broker and database."
        )
        yield jobs_table(results)
    if results.beats:
        yield "## Schedulers"
        schedules, edits, kills = beat_script.schedules(), list(beat_script.edits()), beat_script.KILLS
        yield (
            f"{len(schedules)} schedules for {beat_script.LENGTH:g} seconds, {len(edits)} edits, and SIGKILL of a "
            f"scheduler {len(kills)} times, which starts again {beat_script.RESTART:g} second later. From {GRACE:g} "
            "seconds behind an edit on, what arrives within half an interval is a duplicate, and 1.5 intervals without "
            "anything are a miss."
        )
        yield beats_table(results)
    if results.failed:
        yield "## What could not be measured"
        yield "\n".join(f"- {what}: {why}" for what, why in results.failed.items())


def peers_table(results: Results) -> str:
    """One row for each peer, and how much faster our own side is."""
    rows = []
    for name, rounds in results.peers.items():
        bound = pair.PEERS[name]
        rate = _ratio(rounds, lambda one: one["per_second"], None if bound is None else ("at least", bound))
        late = _ratio(rounds, lambda one: one["p99"])
        sides = list(zip(*rounds))
        memory = [sum(_median(side, part) for part in ("server", "worker")) for side in sides]
        wrong = [sum(one["failed"] + one["wrong"] + one["timeouts"] for one in side) for side in sides]
        title = peer.TITLES[name] + (f", {results.how[name]}" if results.how.get(name) else "")
        rows.append(
            [title, _both(",.0f", rate.medians), rate.spread, rate.wanted, _both(".0f", late.medians),
             _both(".0f", memory), _both("d", wrong)]
        )  # fmt: skip
    rows += [[peer.TITLES[name], f"missing: {why}", *[""] * 5] for name, why in results.missing.items()]
    head = ("", "requests/s, ours : theirs", "ratio", "wanted", "p99 ms", "MB of server and worker", "wrong")
    return table(head, rows)


def cpu_table(results: Results) -> str:
    """One row for each peer: where the CPU of a request goes, on both sides."""
    rows = []
    for name, rounds in results.peers.items():
        rows.append([peer.TITLES[name]])
        for part in pair.PARTS:
            bound = pair.CPU_BOUNDS.get((name, part))
            ratio = _ratio(rounds, lambda one: one["cpu"][part], None if bound is None else ("at most", bound))
            wanted = f", {ratio.wanted}" if ratio.wanted else ""
            rows[-1].append(f"{_both(',.0f', ratio.medians)} = {ratio.median:.2f}{wanted}")
    return table(["", *pair.PARTS], rows)


def jobs_table(results: Results) -> str:
    """One row for each peer of the durable jobs, and what it promises."""
    rows = []
    for name, rounds in results.jobs.items():
        side = job_sides.PEERS[name]
        accepted, done = (_ratio(rounds, lambda one: one[figure]) for figure in ("per_second", "done"))
        used = _ratio(rounds, lambda one: sum(one["cpu"].values()))
        parts = (_ratio(rounds, lambda one: one["cpu"][part]) for part in jobs.PARTS)
        rows.append(
            [side.title, _both(",.0f", accepted.medians), accepted.spread, _both(",.0f", done.medians), done.spread,
             _both(",.0f", used.medians), used.spread, *(_both(",.0f", part.medians) for part in parts),
             side.accepted, side.killed]
        )  # fmt: skip
    head = ("", "accepted/s, ours : theirs", "ratio", "done/s", "ratio", "CPU µs a job", "ratio")
    return table([*head, *jobs.PARTS, "with 202 it is", "the job of a worker that is killed is"], rows)


def beats_table(results: Results) -> str:
    """One row for each side and number of its schedulers; two where jobs have their ticks."""
    rows = []
    for found in results.beats:
        title = found["side"] + (", by the ticks of its jobs" if found["measure"] == "ticks" else "")
        ignored = f"{found['ignored']} of {found['edits']}" if found["edits"] else ""
        figures = (str(found[key]) for key in ("beats", "sent", "duplicates", "misses"))
        rows.append([title, *figures, ignored])
    return table(["", "schedulers", "sent", "duplicates", "misses", "edits not noticed"], rows)


def _ratio(
    rounds: Sequence[tuple[dict[str, Any], dict[str, Any]]], figure: Callable[[dict[str, Any]], float],
    bound: tuple[str, float] | None = None,
) -> Ratio:  # fmt: skip
    # A side that answered nothing, and a broker elsewhere, of which the CPU is not known, have a ratio, too.
    figures = [(figure(ours), figure(theirs) or 0.1) for ours, theirs in rounds]
    return Ratio("", ("ours", "theirs"), "", figures, bound)


def _both(form: str, values: Iterable[float]) -> str:
    return " : ".join(format(value, form) for value in values)


def _median(side: Sequence[dict[str, Any]], part: str) -> float:
    return statistics.median(float(one["memory"][part]) for one in side)


def isolation_table(results: Results) -> str:
    """The worst of each variant, before and from the slow queries on."""
    rows = []
    for name, answers in results.isolation.items():
        idle = [milliseconds for sent, milliseconds in answers if sent < variants.BEFORE - 0.5]
        busy = [milliseconds for sent, milliseconds in answers if sent >= variants.BEFORE - 0.5]
        figures = [_quantile(idle, 0.99), _quantile(busy, 0.99), max(busy, default=0.0)]
        rows.append([variants.TITLES[name], *(f"{figure:,.1f}" for figure in figures)])
    return table(["/i_want_you_now, ms", "p99 before", "p99 from then on", "slowest"], rows)


def sizes_table(results: Results) -> str:
    """One row for each size: the rate of each side, and how much faster the bridge is."""
    others = [name for name in sizes.SIDES if name != "bridge"]
    rows = []
    for size in sorted(results.sizes, key=int):
        found = results.sizes[size]
        rates = {name: statistics.median(rounds) for name, rounds in found["sides"].items()}
        cells = [f"{int(size):,}", f"{found['bytes']:,}", str(found["connections"])]
        cells += [_rate(rates.get(name)) for name in sizes.SIDES]
        for name in others:
            if name not in rates or "bridge" not in rates:
                cells.append("")
                continue
            bound = sizes.BOUNDS.get(name, {}).get(int(size))
            ratio = Ratio("", ("", ""), "", [(rates["bridge"], rates[name])], bound and ("at least", bound))
            cells.append(f"{ratio.median:.2f}" + (f", {ratio.wanted}" if ratio.wanted else ""))
        rows.append(cells)
    titles = list(sizes.TITLES.values())
    return table(["rows", "bytes", "connections", *titles, *(f"bridge : {name}" for name in others)], rows)


def beside_table(results: Results) -> str:
    """One row for each side and size: how late /i_want_you_now came meanwhile."""
    idle = next((found["p99"] for found in results.beside if found["side"] == "idle"), None)
    rows = []
    for found in results.beside:
        bound = ("at most", sizes.LATE_BOUND) if found["side"] == "bridge" else None
        ratio = Ratio("", ("", ""), "", [(found["p99"], idle or found["p99"])], bound)
        against = f"{ratio.median:.2f}" + (f", {ratio.wanted}" if ratio.wanted else "")
        figures = [f"{found[key]:,.1f}" for key in ("p50", "p99", "most")]
        rows.append([sizes.TITLES.get(found["side"], found["side"]), found["size"], *figures, against])
    return table(["", "fetches", "p50", "p99", "most", "p99 beside idle"], rows)


def _quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def _cells(results: Results) -> str:
    names = list(dict.fromkeys(cell["variant"] for cell in results.cells))
    places = list(dict.fromkeys((cell["delay"], cell["connections"]) for cell in results.cells))
    found = {(cell["variant"], cell["delay"], cell["connections"]): cell["per_second"] for cell in results.cells}
    rows = [
        [f"{delay:g} s", f"{count:,}", *(_rate(found.get((name, delay, count))) for name in names)]
        for delay, count in places
    ]
    return table(["sleeps", "connections", *(variants.TITLES[name] for name in names)], rows)


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _bad(cells: Sequence[dict[str, Any]]) -> str:
    return "Not answered, or not as they should be:\n\n" + "\n".join(
        f"- {variants.TITLES[cell['variant']]}, {cell['delay']:g} s, {cell['connections']} connections: "
        f"{cell['failed']} failed, {cell['wrong']} wrong, {cell['timeouts']} without an answer in time"
        for cell in cells
    )


def _figures(ratios: Iterable[Ratio]) -> str:
    rows = []
    for ratio in ratios:
        sides = [f"{side}: {figure:.4g} {ratio.unit}" for side, figure in zip(ratio.sides, ratio.medians)]
        rows.append([ratio.what, *sides, f"{ratio.spread}, {len(ratio.rounds)} rounds", ratio.wanted])
    return table(["", "one side", "the other", "ratio", "wanted"], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
