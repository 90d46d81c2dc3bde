"""The server's settings, from the environment: validated once, frozen afterwards."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

PREFIX = "NOWAIT_"


class SettingsError(ValueError):
    """A setting that cannot be used; its text names variable, value and what is allowed."""


def _setting(default: Any, parse: Callable[[str], Any], help: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": help})


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise SettingsError(f"{text!r} is not allowed, expected an integer from {low} to {high}")
        return int(text)

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = float("nan")
        if not (isfinite(seconds) and low <= seconds <= high):
            raise SettingsError(f"{text!r} is not allowed, expected seconds from {low:g} to {high:g}")
        return seconds

    return parse


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise SettingsError(f"{text!r} is not allowed, expected {' or '.join(allowed)}")
        return text

    return parse


def _flag(text: str) -> bool:
    return _choice("0", "1")(text) == "1"


def _address(text: str) -> str:
    if not text or not text.isascii() or any(character.isspace() for character in text):
        raise SettingsError(f"{text!r} is not allowed, expected an IP address or a host name")
    return text


def _url(form: str, *schemes: str, several: bool = False) -> Callable[[str], str]:
    def good(url: str) -> bool:
        try:
            parts = urlsplit(url)
            return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number, a broken IPv6 address
            return False

    def parse(text: str) -> str:
        for url in text.split(";") if several else [text]:
            if not good(url.strip()):
                # A password may be in it: nothing behind the scheme is repeated.
                scheme = url.strip().partition("://")[0][:20]
                raise SettingsError(f"'{scheme}://…' is not allowed, expected {form}")
        return text

    return parse


@dataclass(frozen=True)
class Settings:
    """Everything a server host can set; each field is the variable `NOWAIT_` + its name."""

    broker_url: str = _setting(
        "amqp://guest:guest@127.0.0.1:5672//",
        _url("amqp://user:password@host:port/vhost", "amqp", "amqps", several=True),
        "the broker, amqp:// or amqps://; several, separated by ';', are tried in turn",
    )
    database_url: str = _setting(
        "mysql://nowait:nowait@127.0.0.1:3306/nowait",
        _url("mysql://user:password@host:port/name", "mysql"),
        "the database, mysql://user:password@host:port/name; the server itself uses it only with DEMO",
    )
    address: str = _setting("127.0.0.1", _address, "the address to listen on; 0.0.0.0 for all of IPv4, :: for all")
    port: int = _setting(8000, _integer(0, 65535), "the TCP port to listen on; 0 for a free one")
    processes: int = _setting(1, _integer(1, 1024), "server processes that share the port, each with its own bridge")
    timeout: float = _setting(30.0, _seconds(0.001, 3600), "seconds that a request may take")
    max_in_flight: int = _setting(
        1000, _integer(1, 1_000_000), "calls that may wait for workers at once, in each process"
    )
    drain: float = _setting(
        10.0, _seconds(0, 3600), "seconds that requests in flight get to end after SIGTERM; 0 for none"
    )
    definitions: bool = _setting(
        False, _flag, "1 for a broker that was set up by deploy/broker/definitions.json, 0 for any other"
    )
    demo: bool = _setting(False, _flag, "1 turns on the comparison routes and ?delay=, 0 leaves them out")
    log_level: str = _setting(
        "info", _choice("debug", "info", "warning", "error"), "the least level that is logged"
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read all settings; unset and empty variables mean the default.

        Raises SettingsError for the first value that is not allowed.
        """
        values = {}
        for setting in fields(cls):
            name = PREFIX + setting.name.upper()
            text = environment.get(name, "")
            if text:
                try:
                    values[setting.name] = setting.metadata["parse"](text)
                except SettingsError as error:
                    raise SettingsError(f"{name}={error}") from None
        settings = cls(**values)
        if settings.processes > 1 and settings.port == 0:
            raise SettingsError(f"{PREFIX}PORT=0 is not allowed, expected the port that several processes share")
        return settings

    @classmethod
    def load(cls) -> "Settings":
        """From this process's environment; a bad value ends the program: one line, status 2."""
        try:
            return cls.from_environment(os.environ)
        except SettingsError as error:
            print(error, file=sys.stderr)
            raise SystemExit(2) from None


def describe() -> str:
    """Every setting, a line or two each, for --help."""
    lines = []
    for setting in fields(Settings):
        default = int(setting.default) if isinstance(setting.default, bool) else setting.default
        text = f"{default:g}" if isinstance(default, float) else str(default)
        lines.append(f"  {PREFIX}{setting.name.upper()}\n      {setting.metadata['help']}\n      default: {text}")
    return "\n".join(lines)
