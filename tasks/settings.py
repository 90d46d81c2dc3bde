"""The workers' settings, from the environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_BROKER_SCHEMES = ("amqp", "amqps")


class SettingsError(ValueError):
    """A setting that cannot be used; its text names variable, value and what is allowed."""


@dataclass(frozen=True)
class Settings:
    """What a worker host can set.

    Attributes:
        broker_url: AMQP URLs, several separated by `;`, tried in turn.
        database_url: `mysql://user:password@host:port/name`, with `?tls=1` where the database has to
            show a certificate for its host name.
        sql: the folder of the named queries.
        definitions: the broker was set up by deploy/broker/definitions.json.
        canvas: tasks may name further tasks to send: callbacks, chains, chords.
        alive: a file that is touched, at least every minute, while the worker takes messages or waits
            for the broker; None for none.
        remote_control: `celery inspect` and `celery control` reach the workers.
    """

    broker_url: str = "amqp://guest:guest@127.0.0.1:5672//"
    database_url: str = "mysql://nowait:nowait@127.0.0.1:3306/nowait"
    sql: Path = Path(__file__).parent / "sql"
    definitions: bool = False
    canvas: bool = False
    alive: Path | None = None
    remote_control: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read `NOWAIT_` and each field's name in upper case; unset and empty mean the default.

        Raises SettingsError for a value that is not allowed.
        """
        broker_url = environment.get("NOWAIT_BROKER_URL") or cls.broker_url
        for url in broker_url.split(";"):
            _check("NOWAIT_BROKER_URL", url.strip(), _BROKER_SCHEMES, "amqp://user:password@host:port/vhost")
        database_url = environment.get("NOWAIT_DATABASE_URL") or cls.database_url
        _check("NOWAIT_DATABASE_URL", database_url, ("mysql",), "mysql://user:password@host:port/name")
        if urlsplit(database_url).query not in ("", "tls=1"):
            raise SettingsError("NOWAIT_DATABASE_URL has other parameters than tls=1, expected …/name?tls=1 or none")
        if not urlsplit(database_url).path.strip("/"):
            raise SettingsError("NOWAIT_DATABASE_URL names no database, expected mysql://user:password@host:port/name")
        sql = Path(environment.get("NOWAIT_SQL") or cls.sql)
        if not sql.is_dir():
            raise SettingsError(f"NOWAIT_SQL={str(sql)!r} is not allowed, expected a folder of SQL files")
        alive = environment.get("NOWAIT_ALIVE")
        if alive and not os.access(Path(alive).parent, os.W_OK):
            raise SettingsError(f"NOWAIT_ALIVE={alive!r} is not allowed, expected a file whose folder can be written")
        return cls(
            broker_url=broker_url,
            database_url=database_url,
            sql=sql,
            definitions=_flag(environment, "NOWAIT_DEFINITIONS"),
            canvas=_flag(environment, "NOWAIT_CANVAS"),
            alive=Path(alive) if alive else None,
            remote_control=_flag(environment, "NOWAIT_REMOTE_CONTROL"),
        )

    @classmethod
    def load(cls) -> "Settings":
        """From this process's environment; a bad value ends the program: one line, status 2."""
        try:
            return cls.from_environment(os.environ)
        except SettingsError as error:
            print(error, file=sys.stderr)
            raise SystemExit(2) from None


def _flag(environment: Mapping[str, str], name: str) -> bool:
    value = environment.get(name) or "0"
    if value not in ("0", "1"):
        raise SettingsError(f"{name}={value!r} is not allowed, expected 0 or 1")
    return value == "1"


def _check(name: str, url: str, schemes: tuple[str, ...], form: str) -> None:
    """Raise SettingsError unless `url` has one of `schemes`, a host and, if any, a valid port."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        good = False
    if not good:
        # The value may hold a password: nothing after the scheme is repeated.
        raise SettingsError(f"{name}={url.split('://')[0][:20]}://… is not allowed, expected {form}")
