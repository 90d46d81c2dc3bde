"""`make migrate`: the schema of jobs in the database of the settings; and the archive of jobs that have ended."""

import argparse
import sys
from datetime import date, datetime
from pathlib import Path

from nowait.formats import parse_date_time
from nowait.jobs.archive import ArchiveError, archive
from nowait.jobs.migrations import MigrationError, migrate, script
from nowait.jobs.table import State
from nowait.settings import DatabaseSettings

_FINAL = [state for state in State if state.final]


def main() -> int:
    """Do what the command line says, and print what was done. Returns the exit status: 0 when all went well."""
    arguments = _parser().parse_args()
    try:
        if arguments.command == "archive":
            _archive(arguments.file, arguments.before, arguments.state or _FINAL)
        else:
            _migrate(arguments.sql)
    except (ArchiveError, MigrationError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nowait.jobs",
        description="Brings the schema of jobs to the newest revision. The account needs the right to create tables.",
        epilog="Settings, from the environment:\n" + DatabaseSettings.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--sql",
        nargs="?",
        const="base",
        metavar="REVISION",
        help="print the statements instead, from this revision on or from an empty database; nothing is connected to",
    )
    others = parser.add_subparsers(dest="command", metavar="archive", help="move jobs that have ended to a file")
    moving = others.add_parser(
        "archive",
        prog="python -m nowait.jobs archive",
        description="Writes jobs that have ended to a file, a line of JSON each, and deletes these from the database.",
        epilog="The server's account has the rights that it needs. Killed, it may be run again with the same file.",
    )
    moving.add_argument(
        "--before", required=True, type=_moment, help="only jobs that ended before: 2026-11-01 or 2026-11-01T06:00:00Z"
    )
    moving.add_argument(
        "--state", action="append", type=State, choices=_FINAL, metavar="STATE",
        help=f"only jobs in this state, may be given several times: {', '.join(state.value for state in _FINAL)}",
    )  # fmt: skip
    moving.add_argument("file", type=Path, help="gets the lines at its end")
    return parser


def _moment(text: str) -> datetime:
    """UTC without a zone."""
    if len(text) == len("2026-11-01"):
        return datetime.combine(date.fromisoformat(text), datetime.min.time())
    return parse_date_time(text).replace(tzinfo=None)


def _archive(file: Path, before: datetime, states: list[State]) -> None:
    shown = False  # a line that has no end yet

    def progress(moved: int) -> None:
        nonlocal shown
        shown = True
        print(f"\r{moved} jobs moved", end="", file=sys.stderr, flush=True)

    try:
        moved = archive(DatabaseSettings.load().database_url, file, before, states, progress)
    except ArchiveError:
        if shown:
            print(file=sys.stderr)
        raise
    print(f"\r{moved} jobs are in {file} now, and not in the database any more", file=sys.stderr)


def _migrate(since: str | None) -> None:
    if since is not None:
        print(script(since), end="")
        return
    done = migrate(DatabaseSettings.load().database_url)
    if done.before == done.after:
        print(f"the schema of jobs is {done.after} already, nothing was changed")
    else:
        print(f"the schema of jobs is {done.after} now, it was {done.before or 'missing'}")


if __name__ == "__main__":
    sys.exit(main())
