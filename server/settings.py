"""What a server host can set."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nowait import settings as fields
from nowait.jobs.protocol import FOREVER
from nowait.jobs.table import State
from nowait.messages.limits import MAX_RECEIVED_REPLY
from nowait.settings import PREFIX, SettingsError, setting
from server.http import hosts
from server.http.hosts import Hosts, is_loopback
from server.http.origins import Origins
from server.http.proxies import Proxies
from server.jobs.decisions import Retention
from server.names import Bounds, Names
from server.webhooks.addresses import AllowList
from server.webhooks.signing import parse_secrets

_WEEK = 7 * 86400.0  # seconds


def _retention(what: str) -> Any:
    return setting(_WEEK, _seconds_or_none, f"seconds that a job is kept that {what}, from 3600 on; none for ever")


def _seconds_or_none(text: str) -> float:
    if text == "none":
        return math.inf
    try:
        return fields.seconds(3600, FOREVER)(text)
    except ValueError as error:
        raise ValueError(f"{error}, or none") from None


@dataclass(frozen=True)
class Settings(fields.ServiceSettings):
    """The server's settings."""

    address: str = setting("127.0.0.1", fields.address, "the address to listen on; 0.0.0.0 for all of IPv4, :: for all")
    port: int = setting(8000, fields.integer(0, 65535), "the TCP port to listen on; 0 for a free one")
    processes: int = setting(1, fields.integer(1, 1024), "server processes that share the port, each with a bridge")
    keys: Path | None = setting(
        None,
        fields.readable_file,
        "the file of the keys that clients need (python -m server keys); none for no keys",
        empty=False,
    )
    require_keys: bool = setting(False, fields.flag, "1 refuses to start without KEYS", empty=False)
    hosts: Hosts | None = setting(
        None,
        Hosts.parse,
        "the names by which clients may ask, with commas between, besides localhost and addresses; local for no others,"
        " any for all. By itself it is any with KEYS, with TLS_CERT, and where ADDRESS is none of loopback, else local",
    )
    cors_origins: Origins = setting(
        Origins(),
        Origins.parse,
        "the origins whose pages may have browsers send requests, https://app.example, with commas between; none for"
        " none",
    )
    trusted_proxies: Proxies = setting(
        Proxies(),
        Proxies.parse,
        "the addresses and networks of balancers, with commas between, whose X-Forwarded-For names the client; none for"
        " none",
    )
    proxy_protocol: bool = setting(
        False, fields.flag, "1 where each connection of the TRUSTED_PROXIES begins with a header of the PROXY protocol"
    )
    tls_cert: Path | None = setting(
        None, fields.readable_file, "the certificate, with those up to the CA, in PEM, for HTTPS; none for HTTP",
        empty=False,
    )
    tls_key: Path | None = setting(None, fields.readable_file, "the private key of TLS_CERT, in PEM", empty=False)
    timeout: float = setting(30.0, fields.seconds(0.001, 3600), "seconds that a request may take")
    max_connections: int = setting(
        10_000,
        fields.integer(1, 1_000_000),
        "connections of clients that may be open at once, in each process; at most the limit of open files, less 64",
    )
    max_in_flight: int = setting(
        1000, fields.integer(1, 1_000_000), "calls that may wait for workers at once, in each process"
    )
    max_answer_bytes: int = setting(
        256 * 1024 * 1024,
        fields.integer(MAX_RECEIVED_REPLY, 999_999_999),
        "bytes of answers that each process may hold, on their way from the workers to the clients",
    )
    cache_bytes: int = setting(
        16 * 1024 * 1024,
        fields.integer(0, 999_999_999),
        "bytes of answers that each process may keep, of queries that have a time for which they may be given again;"
        " 0 keeps none",
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
    topics: Names = setting(
        Names({"news"}), Names.parse, "the topics, by their names with commas between; none for none"
    )
    max_subscribers: int = setting(
        1000, fields.integer(1, 100_000), "clients that may follow topics at once, in each process"
    )
    queues: Bounds = setting(
        Bounds({"parcels": 100}),
        Bounds.parse,
        "the queues of messages with how many may wait in each, name:number with commas between; none for none. Where"
        " TOPOLOGY is provisioned, the broker's bounds hold",
    )
    max_consumers: int = setting(
        100, fields.integer(1, 2000), "clients that may consume queues at once, in each process"
    )
    retention_succeeded: float = _retention("has succeeded")
    retention_failed: float = _retention("has failed")
    retention_cancelled: float = _retention("was cancelled")
    retention_expired: float = _retention("has expired")
    webhook_secrets: tuple[str, ...] | None = setting(
        None,
        parse_secrets,
        "what webhooks are signed with, one secret or, while receivers change theirs, two with a comma between;"
        " none for no webhooks",
    )
    webhook_allow: AllowList | None = setting(
        None,
        AllowList.parse,
        "where webhooks may go besides public addresses, by https:// and the ports 443 and 8443: names, addresses and"
        " networks with commas between, :port behind, http:// before those that have no TLS",
    )
    shutdown_timeout: float = setting(
        10.0, fields.seconds(0, 3600), "seconds that requests in flight get to end after SIGTERM; 0 for none"
    )
    shutdown_notice: float = setting(
        0.0,
        fields.seconds(0, 3600),
        "seconds after SIGTERM in which /readyz is 503 and requests are still taken, for a balancer to turn away",
    )
    demo: bool = setting(
        False, fields.flag, "1 turns on the live page, the comparison routes and ?delay=, 0 leaves them out"
    )
    trust_traceparent: bool = setting(
        False, fields.flag, "1 goes on with the traces of clients (traceparent); 0 begins one with each request"
    )
    log_level: str = setting(
        "info", fields.choice("debug", "info", "warning", "error"), "the lowest level that is logged"
    )

    def __post_init__(self) -> None:
        if self.processes > 1 and self.port == 0:
            raise SettingsError(f"{PREFIX}PORT=0 is not allowed, expected the port that {PREFIX}PROCESSES share")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingsError(f"{PREFIX}TLS_CERT is not allowed without {PREFIX}TLS_KEY, nor that without it")
        if self.require_keys and self.keys is None:
            raise SettingsError(f"{PREFIX}REQUIRE_KEYS=1 is not allowed without {PREFIX}KEYS")
        if self.proxy_protocol and not self.trusted_proxies:
            raise SettingsError(f"{PREFIX}PROXY_PROTOCOL=1 is not allowed without {PREFIX}TRUSTED_PROXIES")
        if self.demo and self.keys is not None:
            raise SettingsError(f"{PREFIX}DEMO=1 is not allowed with {PREFIX}KEYS: its page has no key")

    @property
    def accepted_hosts(self) -> Hosts:
        """The names by which clients may ask.

        Without keys, what a server offers on loopback is for programs of its host, and for no page from elsewhere.
        """
        if self.hosts is not None:
            return self.hosts
        is_open = self.keys is None and self.tls_cert is None and is_loopback(self.address)
        return Hosts() if is_open else hosts.ANY

    @property
    def retention(self) -> Retention:
        """The seconds that jobs are kept behind their end, by their final state."""
        return {
            State.SUCCEEDED: self.retention_succeeded,
            State.FAILED: self.retention_failed,
            State.CANCELLED: self.retention_cancelled,
            State.EXPIRED: self.retention_expired,
        }
