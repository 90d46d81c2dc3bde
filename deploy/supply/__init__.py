"""What a release is made of: what is known of its dependencies, lists of them, and the files themselves.

These modules run in an environment of their own, `.venv/supply`, with the programs of requirements.txt beside them.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What `deploy/install.sh` puts on hosts.
PARTS = ("server", "worker", "migrate")
# What it adds to a part where that is wanted: OTEL=1.
OPTIONS = ("otel",)


def requirements(name: str) -> Path:
    """The file with the pinned packages of a set, by its name in deploy/requirements."""
    return ROOT / "deploy/requirements" / f"{name}.txt"
