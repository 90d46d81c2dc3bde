"""The files of a release, of what is committed: python -m deploy.supply.release FOLDER

FOLDER gets the wheel of the library, the source of everything, a list of packages for each part that hosts install, and
SHA256SUMS. The version is that of the tag, or what follows it. Two runs give the same wheel and the same lists.
"""

import argparse
import hashlib
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.supply import ROOT
from deploy.supply.bom import version
from deploy.supply.command import run


def check(version: str) -> None:
    """Raise SystemExit when this tree is not committed, or a version without a section in the list of changes."""
    if changed := run("git", "status", "--porcelain", "--untracked-files=no"):
        raise SystemExit(f"not committed:\n{changed}")
    changes = (ROOT / "CHANGELOG.md").read_text()
    released = ".dev" not in version and "+" not in version
    if released and not re.search(rf"^## {re.escape(version)}(\s|$)", changes, re.MULTILINE):
        raise SystemExit(f"CHANGELOG.md has no section {version}")


def make(version: str, folder: Path) -> None:
    """Write the files of a release into an empty folder. Raises SystemExit."""
    variables = {
        "SETUPTOOLS_SCM_PRETEND_VERSION": version, "SOURCE_DATE_EPOCH": run("git", "log", "-1", "--format=%ct")
    }  # fmt: skip
    with TemporaryDirectory() as temporary:
        # What git does not know gets in nowhere, and building leaves nothing behind.
        tree, archive = Path(temporary) / "tree", Path(temporary) / "tree.tar"
        tree.mkdir()
        run("git", "archive", "--output", str(archive), "HEAD")
        run("tar", "-xf", str(archive), "-C", str(tree))
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), cwd=tree, **variables)
        run(sys.executable, "-m", "deploy.supply.bom", str(folder), cwd=tree, **variables)
    files = sorted(folder.iterdir())
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(sums))


def main() -> int:
    """Make a release. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.supply.release", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="is made; it has to be empty")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty")
    this = version()
    check(this)
    make(this, folder)
    print(*sorted(folder.iterdir()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
