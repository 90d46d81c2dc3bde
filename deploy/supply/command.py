"""Commands that are run to their end."""

import os
import subprocess
from pathlib import Path

from deploy.supply import ROOT


def run(*command: str, cwd: Path = ROOT, **variables: str) -> str:
    """What a command prints on standard output, in this environment with the variables.

    Raises SystemExit when it fails, with all that it has printed as the reason.
    """
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}{' '.join(command)}: status {done.returncode}")
    return done.stdout.strip()
