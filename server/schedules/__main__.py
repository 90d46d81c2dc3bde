"""`python -m server.schedules FILE`: the schedules of a file, on a server."""

import argparse
import os
import sys
from pathlib import Path

from server.schedules.file import Api, Refused, read

_KEY = "NOWAIT_KEY"  # in the environment, as all users of a host see its command lines


def main() -> int:
    """Show what differs, and change it when that is wanted.

    Returns the exit status: 0 when nothing differs, or not any more; 1 when something does; 2 when the file or one of
    its schedules is refused.
    """
    parser = argparse.ArgumentParser(
        prog="python -m server.schedules",
        description="Shows how the schedules of a TOML file differ from those of a server, and asks whether to change"
        " the server's. Nothing is changed unless the server takes all of them.",
        epilog="Exit status: 0 when nothing differs, or not any more; 1 when something does; 2 when the file, or one of"
        f" its schedules, is refused. A key that the server needs is in {_KEY}.",
    )
    parser.add_argument("file", type=Path, nargs="?", default=Path("schedules.toml"), help="schedules.toml otherwise")
    parser.add_argument("--server", default="http://127.0.0.1:8000", metavar="URL", help="%(default)s otherwise")
    parser.add_argument("--yes", action="store_true", help="change them without asking; needed without a terminal")
    parser.add_argument("--prune", action="store_true", help="delete those of the server that are not in the file")
    options = parser.parse_args()
    try:
        api = Api(options.server, os.environ.get(_KEY))
        changes = api.changes(read(options.file), options.prune)
        for change in changes:
            print(change.diff(), end="")
        if not changes:
            print("nothing differs")
            return 0
        if not (options.yes or _agreed(len(changes))):
            return 1
        for change in changes:
            api.apply(change)
            print(f"{change.name}: {change.done}")
    except Refused as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"Change {count} of the server's schedules? [y/N] ").strip().lower() in ("y", "yes")


if __name__ == "__main__":
    sys.exit(main())
