"""What a worker host can set; everything else is Celery's own command line."""

from dataclasses import dataclass
from pathlib import Path

from nowait import settings as fields
from nowait.settings import setting


@dataclass(frozen=True)
class Settings(fields.Settings):
    """The workers' settings."""

    broker_url: str = setting(
        "amqp://guest:guest@127.0.0.1:5672//",
        fields.broker_url,
        "the broker, amqp:// or amqps://; several, separated by ';', are tried in turn",
    )
    topology: str = setting(
        "declared",
        fields.choice("declared", "provisioned"),
        "provisioned for a broker that was set up by deploy/broker/definitions.json, declared for any other",
    )
    database_url: str = setting(
        "mysql://nowait:nowait@127.0.0.1:3306/nowait",
        fields.database_url,
        "the database, mysql://user:password@host:port/name, with ?tls=1 for TLS",
    )
    queries: Path = setting(Path(__file__).parent / "sql", fields.folder, "the folder of the named queries")
    canvas: bool = setting(
        False, fields.flag, "1 for tasks that may name further tasks to send: callbacks, chains, chords"
    )
    liveness_file: Path | None = setting(
        None,
        fields.writable_file,
        "a file that is touched at least every minute while the worker consumes, or waits for the broker",
    )
    remote_control: bool = setting(
        False, fields.flag, "1 for workers that `celery inspect` and `celery control` reach"
    )
