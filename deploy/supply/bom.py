"""What each part consists of, as CycloneDX: python -m deploy.supply.bom FOLDER

FOLDER/nowait-PART-VERSION.cdx.json has the packages that hosts with the part install, with the hashes that pip accepts;
that of `otel` those that OTEL=1 adds.
The same revision gives the same bytes: there is no serial number, and the time is that of SOURCE_DATE_EPOCH, or none.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.supply import OPTIONS, PARTS, requirements
from deploy.supply.command import run


def version() -> str:
    """The version of this tree: that of its tag, or what follows it."""
    return run(sys.executable, "-m", "setuptools_scm")


def write(part: str, version: str, folder: Path) -> Path:
    """Write the list of a part; returns the file."""
    file = folder / f"nowait-{part}-{version}.cdx.json"
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", str(requirements(part))]
    with TemporaryDirectory() as temporary:
        # Of whom the list is; cyclonedx-py does not read setup.cfg.
        project = Path(temporary) / "pyproject.toml"
        project.write_text(f'[project]\nname = "nowait-{part}"\nversion = "{version}"\nlicense = "Apache-2.0"\n')
        command += ["--pyproject", str(project), "--mc-type", "application", "--output-file", str(file)]
        # The tests validate them, at once: the schema takes a second each time.
        run(*command, "--spec-version", "1.6", "--output-reproducible", "--no-validate")
    return file


def main() -> int:
    """Write the lists of all parts. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.supply.bom", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="is made")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    this = version()
    for part in (*PARTS, *OPTIONS):
        print(write(part, this, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
