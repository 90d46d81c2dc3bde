"""Load with random faults, and the figures at the end: `python -m tests.soak --help`."""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deploy.local.errors import LocalError
from tests.conftest import ROOT
from tests.soak import report
from tests.soak.soak import Outcome, soak

_FORM = "{desc:44} {percentage:3.0f} %|{bar}| {elapsed} gone, {remaining} left"


def main() -> int:
    """Soak. Returns the exit status: 0 when all figures are met, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Load on a private stack, with random faults: what is lost, what is done twice, and what grows."
        " Ctrl-C ends the load sooner, with the figures so far.",
    )
    parser.add_argument("--hours", type=float, default=1.0, help="of load, 1 otherwise; 0.1 is too short for slopes")
    parser.add_argument("--seed", type=int, help="of the faults and the load; another one each time otherwise")
    parser.add_argument("--every", type=float, default=120.0, help="seconds from one fault to the next, 120 otherwise")
    parser.add_argument("--output", type=Path, default=ROOT / "soak", help="the folder of the report; soak/ otherwise")
    options = parser.parse_args()
    if options.hours <= 0 or options.every <= 0:
        parser.error("--hours and --every are more than 0")
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    # A shell's background processes inherit SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    again = f"make soak HOURS={options.hours:g} SEED={seed} EVERY={options.every:g}"
    print(f"seed {seed}; the same again: {again}", flush=True)
    seconds = options.hours * 3600
    try:
        with tempfile.TemporaryDirectory(prefix="nowait-soak-") as folder:
            with tqdm(total=round(seconds), bar_format=_FORM, smoothing=0) as bar:
                outcome = asyncio.run(_soak(Path(folder), seconds, options.every, seed, bar))
            if outcome.verdict():
                shutil.copytree(Path(folder) / "logs", options.output / "logs", dirs_exist_ok=True)
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    text = "\n".join([f"{again}\n", *report.lines(outcome)])
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "soak.txt").write_text(f"{text}\n")
    from tests.soak.plot import draw  # takes longer to import than most tests

    draw(outcome, options.output / "soak.svg")
    print(f"report: {options.output}/soak.txt, picture: soak.svg")
    return 1 if outcome.verdict() else 0


async def _soak(folder: Path, seconds: float, every: float, seed: int, bar: "tqdm[Any]") -> Outcome:
    """The first Ctrl-C ends the load, and the second one all of it."""
    loop, enough = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        enough.set()

    def say(passed: float, what: str, new: bool) -> None:
        if new:
            bar.write(f"{passed / 60:6.1f} min  {what}")
        bar.set_description_str(what, refresh=False)
        bar.n = min(round(passed), round(seconds))
        bar.refresh()

    loop.add_signal_handler(signal.SIGINT, stop)
    return await soak(folder, seconds, every, seed, say, enough)


if __name__ == "__main__":
    sys.exit(main())
