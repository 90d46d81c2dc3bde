"""What each part consists of, as CycloneDX: python -m deploy.supply.bom FOLDER

FOLDER/nowait-PART-VERSION.cdx.json has the packages that hosts with the part install, with the hashes that pip accepts.
The same revision gives the same bytes: neither the time nor a serial number is in there.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.supply import PARTS, ROOT, requirements

_SPECIFICATION = "1.6"
# Requirement files have no graph: which package wants which other one.
_PYTHON = ("-W", "ignore:The Component this BOM is describing")


def version() -> str:
    """The version of this tree: that of its tag, or what follows it."""
    command = [sys.executable, "-m", "setuptools_scm"]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def write(part: str, version: str, folder: Path) -> Path:
    """Write the list of a part; returns the file. One that does not follow the specification is not written."""
    file = folder / f"nowait-{part}-{version}.cdx.json"
    with TemporaryDirectory() as temporary:
        # Of whom the list is; setup.cfg is nothing that cyclonedx-py reads.
        project = Path(temporary) / "pyproject.toml"
        project.write_text(f'[project]\nname = "nowait-{part}"\nversion = "{version}"\nlicense = "Apache-2.0"\n')
        command = [sys.executable, *_PYTHON, "-m", "cyclonedx_py", "requirements", str(requirements(part))]
        command += ["--pyproject", str(project), "--mc-type", "application", "--output-file", str(file)]
        command += ["--spec-version", _SPECIFICATION, "--output-reproducible", "--validate"]
        subprocess.run(command, check=True)
    return file


def main() -> int:
    """Write the lists of all parts. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.supply.bom", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="is made")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    this = version()
    for part in PARTS:
        print(write(part, this, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
