"""Settings from the environment: typed fields, each validated once; a bad value ends the program with one line."""

import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from nowait.database_url import DatabaseUrl
from nowait.tracing import installed

PREFIX = "NOWAIT_"

S = TypeVar("S", bound="Settings")

# What a variable of an earlier version is called now: it must not be ignored in silence.
_RENAMED = {
    "DEFINITIONS": "NOWAIT_TOPOLOGY=provisioned",
    "DRAIN": "NOWAIT_SHUTDOWN_TIMEOUT",
    "ALIVE": "NOWAIT_LIVENESS_FILE",
    "SQL": "NOWAIT_QUERIES",
}


class SettingsError(ValueError):
    """A setting that cannot be used; its text names variable, value and what is allowed."""


def setting(default: Any, parse: Callable[[str], Any], help: str, empty: bool = True) -> Any:
    """A field of Settings.

    Args:
        default: its value where the variable is unset, or empty.
        parse: makes the value of a text, or raises ValueError with that text and what is expected.
        help: what it means, with its unit.
        empty: False where an empty variable is not taken for none: what it was to protect would be open.
    """
    return field(default=default, metadata={"parse": parse, "help": help, "empty": empty})


@dataclass(frozen=True)
class Settings:
    """The settings of one program: each field is the variable `NOWAIT_` + its name in upper case."""

    @classmethod
    def from_environment(cls: type[S], environment: Mapping[str, str]) -> S:
        """Read all settings. Raises SettingsError for the first value that is not allowed."""
        for name, successor in _RENAMED.items():
            if environment.get(PREFIX + name):
                raise SettingsError(f"{PREFIX}{name} is not allowed any more, expected {successor}")
        values = {}
        for each in fields(cls):
            name = PREFIX + each.name.upper()
            text = environment.get(name)
            if text or (text is not None and not each.metadata["empty"]):
                try:
                    values[each.name] = each.metadata["parse"](text)
                except ValueError as error:
                    raise SettingsError(f"{name}={error}") from None
        return cls(**values)

    @classmethod
    def load(cls: type[S]) -> S:
        """From this process's environment; a bad value ends the program: one line, status 2."""
        try:
            return cls.from_environment(os.environ)
        except SettingsError as error:
            print(error, file=sys.stderr)
            raise SystemExit(2) from None

    @classmethod
    def describe(cls) -> str:
        """Every setting, a line or two each, for --help."""
        return "\n".join(
            f"  {PREFIX}{each.name.upper()}\n      {each.metadata['help']}\n      default: {_text(each.default)}"
            for each in fields(cls)
        )


def _text(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(int(default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def integer(low: int, high: int) -> Callable[[str], int]:
    """An integer from `low` to `high`."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise ValueError(f"{text!r} is not allowed, expected an integer from {low} to {high}")
        return int(text)

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Seconds from `low` to `high`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise ValueError(f"{text!r} is not allowed, expected seconds from {low:g} to {high:g}")
        return value

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """One of some words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"{text!r} is not allowed, expected {' or '.join(allowed)}")
        return text

    return parse


def flag(text: str) -> bool:
    """True for 1, False for 0."""
    return choice("0", "1")(text) == "1"


def traces(text: str) -> bool:
    """True for 1, where the packages are installed that it takes; False for 0."""
    wanted = flag(text)
    if wanted and not installed():
        raise ValueError(f"{text!r} is not allowed, expected 0 where the packages of the extra otel are not installed")
    return wanted


def address(text: str) -> str:
    """An IP address or a host name."""
    if not text or not text.isascii() or any(character.isspace() for character in text):
        raise ValueError(f"{text!r} is not allowed, expected an IP address or a host name")
    return text


class HostPort(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def host_port(text: str) -> HostPort:
    """An IP address or a host name, and a port: `127.0.0.1:9101`, `[::1]:9101`."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    try:
        found = HostPort(address(bare), integer(1, 65535)(port))
    except ValueError:
        raise ValueError(f"{text!r} is not allowed, expected address:port") from None
    if ":" in bare and bare is host:
        raise ValueError(f"{text!r} is not allowed, expected [address]:port")
    return found


def folder(text: str) -> Path:
    """A folder that is there."""
    if not Path(text).is_dir():
        raise ValueError(f"{text!r} is not allowed, expected a folder")
    return Path(text)


def readable_file(text: str) -> Path:
    """A file that can be read."""
    if not (Path(text).is_file() and os.access(text, os.R_OK)):
        raise ValueError(f"{text!r} is not allowed, expected a file that can be read")
    return Path(text)


def writable_file(text: str) -> Path:
    """A file, or the place for one, whose folder can be written."""
    if not os.access(Path(text).parent, os.W_OK):
        raise ValueError(f"{text!r} is not allowed, expected a file whose folder can be written")
    return Path(text)


def broker_url(text: str) -> str:
    """AMQP URLs, several separated by `;`."""
    for url in text.split(";"):
        try:
            parts = urlsplit(url.strip())
            good = parts.scheme in ("amqp", "amqps") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number, a broken IPv6 address
            good = False
        if not good:
            # A password may be in it: nothing behind the scheme is repeated.
            scheme = url.strip().partition("://")[0][:20]
            raise ValueError(f"'{scheme}://…' is not allowed, expected amqp://user:password@host:port/vhost")
    return text


def database_url(text: str) -> str:
    """`mysql://user:password@host:port/name`, with or without `?tls=1`."""
    DatabaseUrl.parse(text)
    return text


@dataclass(frozen=True)
class DatabaseSettings(Settings):
    """The setting of a program that needs the database alone."""

    database_url: str = setting(
        "mysql://nowait:nowait@127.0.0.1:3306/nowait",
        database_url,
        "the database, mysql://user:password@host:port/name, with ?tls=1 for TLS",
    )


@dataclass(frozen=True)
class ServiceSettings(Settings):
    """What every program that needs broker and database can set."""

    broker_url: str = setting(
        "amqp://guest:guest@127.0.0.1:5672//",
        broker_url,
        "the broker, amqp:// or amqps://; several, separated by ';', are tried in turn",
    )
    topology: str = setting(
        "declared",
        choice("declared", "provisioned", "clustered"),
        "provisioned for a broker that was set up by deploy/broker/setup.sh, clustered for a cluster that was, declared"
        " for any other",
    )
    database_url: str = setting(
        "mysql://nowait:nowait@127.0.0.1:3306/nowait",
        database_url,
        "the database, mysql://user:password@host:port/name, with ?tls=1 for TLS; the server uses it for jobs and DEMO",
    )
    metrics: HostPort | None = setting(
        None, host_port, "the address of the metrics, host:port, apart from all else; none for no metrics"
    )
    traces: bool = setting(
        False, traces, "1 makes traces and exports them, as the variables OTEL_… of OpenTelemetry have it; 0 does not"
    )
    log_format: str = setting("text", choice("text", "json"), "json for a log of one JSON object a line")
