"""What a server host can set."""

from dataclasses import dataclass

from nowait import settings as fields
from nowait.messages.limits import MAX_RECEIVED_REPLY
from nowait.settings import PREFIX, SettingsError, setting


@dataclass(frozen=True)
class Settings(fields.ServiceSettings):
    """The server's settings."""

    address: str = setting("127.0.0.1", fields.address, "the address to listen on; 0.0.0.0 for all of IPv4, :: for all")
    port: int = setting(8000, fields.integer(0, 65535), "the TCP port to listen on; 0 for a free one")
    processes: int = setting(1, fields.integer(1, 1024), "server processes that share the port, each with a bridge")
    timeout: float = setting(30.0, fields.seconds(0.001, 3600), "seconds that a request may take")
    max_in_flight: int = setting(
        1000, fields.integer(1, 1_000_000), "calls that may wait for workers at once, in each process"
    )
    max_answer_bytes: int = setting(
        256 * 1024 * 1024,
        fields.integer(MAX_RECEIVED_REPLY, 999_999_999),
        "bytes of answers that each process may hold, on their way from the workers to the clients",
    )
    max_streams: int = setting(100, fields.integer(1, 10_000), "streams that may be read at once, in each process")
    stream_timeout: float = setting(
        600.0, fields.seconds(1, 86400), "seconds that a stream may take; its first row comes within TIMEOUT"
    )
    max_jobs: int = setting(
        100_000, fields.integer(1, 100_000_000), "jobs that an owner may have that have not ended, about"
    )
    max_watchers: int = setting(
        1000, fields.integer(1, 100_000), "clients that may wait for news of jobs at once, in each process"
    )
    shutdown_timeout: float = setting(
        10.0, fields.seconds(0, 3600), "seconds that requests in flight get to end after SIGTERM; 0 for none"
    )
    shutdown_notice: float = setting(
        0.0,
        fields.seconds(0, 3600),
        "seconds after SIGTERM in which /readyz is 503 and requests are still taken, for a balancer to turn away",
    )
    demo: bool = setting(False, fields.flag, "1 turns on the comparison routes and ?delay=, 0 leaves them out")
    log_level: str = setting(
        "info", fields.choice("debug", "info", "warning", "error"), "the lowest level that is logged"
    )

    def __post_init__(self) -> None:
        if self.processes > 1 and self.port == 0:
            raise SettingsError(f"{PREFIX}PORT=0 is not allowed, expected the port that several processes share")
