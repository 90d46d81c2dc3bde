"""What a worker host can set; everything else is Celery's own command line."""

from dataclasses import dataclass
from pathlib import Path

from nowait import settings as fields
from nowait.settings import setting


@dataclass(frozen=True)
class Settings(fields.ServiceSettings):
    """The workers' settings."""

    queries: Path = setting(Path(__file__).parent / "sql", fields.folder, "the folder of the named queries")
    canvas: bool = setting(
        False, fields.flag, "1 for tasks that may name further tasks to send: callbacks, chains, chords"
    )
    liveness_file: Path | None = setting(
        None,
        fields.writable_file,
        "a file that is touched at least every minute while the worker consumes, or waits for the broker",
    )
    remote_control: bool = setting(False, fields.flag, "1 for workers that `celery inspect` and `celery control` reach")
