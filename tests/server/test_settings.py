import dataclasses
import os
import subprocess
import sys
from ipaddress import ip_network
from math import inf
from pathlib import Path

import pytest

from nowait.settings import HostPort
from server.routes import users
from server.settings import PREFIX, Settings, SettingsError
from server.webhooks.addresses import AllowList

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_nothing_set_means_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()
    assert Settings.from_environment({"NOWAIT_PORT": "", "PATH": "/bin"}) == Settings()


def test_every_setting_is_read(tmp_path: Path) -> None:
    files = keys, cert, key = [str(tmp_path / name) for name in ("keys.json", "cert.pem", "key.pem")]
    for name in files:
        Path(name).touch()
    given = {
        "NOWAIT_BROKER_URL": "amqp://a:b@one:5672/v;amqps://two//",
        "NOWAIT_DATABASE_URL": "mysql://u:p@db:3307/name",
        "NOWAIT_METRICS": "[::1]:9101",
        "NOWAIT_TRACES": "1",
        "NOWAIT_LOG_FORMAT": "json",
        "NOWAIT_ADDRESS": "::",
        "NOWAIT_PORT": "81",
        "NOWAIT_PROCESSES": "4",
        "NOWAIT_KEYS": keys,
        "NOWAIT_REQUIRE_KEYS": "1",
        "NOWAIT_HOSTS": "api.example, B.example",
        "NOWAIT_CORS_ORIGINS": "https://b.example, http://a.example:81",
        "NOWAIT_TRUSTED_PROXIES": "10.1.0.0/16, ::1",
        "NOWAIT_PROXY_PROTOCOL": "1",
        "NOWAIT_TLS_CERT": cert,
        "NOWAIT_TLS_KEY": key,
        "NOWAIT_TIMEOUT": "2.5",
        "NOWAIT_MAX_CONNECTIONS": "300",
        "NOWAIT_MAX_IN_FLIGHT": "7",
        "NOWAIT_MAX_ANSWER_BYTES": "40000000",
        "NOWAIT_CACHE_BYTES": "0",
        "NOWAIT_MAX_STREAMS": "9",
        "NOWAIT_STREAM_TIMEOUT": "90",
        "NOWAIT_MAX_JOBS": "50",
        "NOWAIT_MAX_WATCHERS": "11",
        "NOWAIT_TOPICS": "b, a",
        "NOWAIT_MAX_SUBSCRIBERS": "12",
        "NOWAIT_QUEUES": "letters:7,parcels:9",
        "NOWAIT_MAX_CONSUMERS": "13",
        "NOWAIT_RETENTION_SUCCEEDED": "3600",
        "NOWAIT_RETENTION_FAILED": "none",
        "NOWAIT_RETENTION_CANCELLED": "7200.5",
        "NOWAIT_RETENTION_EXPIRED": "86400",
        "NOWAIT_WEBHOOK_SECRETS": f"{SECRET}, {SECRET}",
        "NOWAIT_WEBHOOK_ALLOW": "hooks.internal",
        "NOWAIT_SHUTDOWN_TIMEOUT": "0",
        "NOWAIT_SHUTDOWN_NOTICE": "1",
        "NOWAIT_TOPOLOGY": "provisioned",
        "NOWAIT_DEMO": "0",
        "NOWAIT_TRUST_TRACEPARENT": "1",
        "NOWAIT_LOG_LEVEL": "error",
    }
    settings = Settings.from_environment(given)
    values = tuple(getattr(settings, field.name) for field in dataclasses.fields(settings))
    assert values == (
        given["NOWAIT_BROKER_URL"], "provisioned", given["NOWAIT_DATABASE_URL"],
        HostPort("::1", 9101), True, "json", "::", 81, 4,
        Path(keys), True, {"api.example", "b.example"}, {"http://a.example:81", "https://b.example"},
        {ip_network("10.1.0.0/16"), ip_network("::1")}, True, Path(cert), Path(key),
        2.5, 300, 7, 40_000_000, 0, 9, 90.0, 50, 11, {"a", "b"}, 12, {"letters": 7, "parcels": 9}, 13,
        3600.0, inf, 7200.5, 86400.0, (SECRET, SECRET), AllowList.parse("hooks.internal"), 0.0, 1.0, False, True,
        "error",
    )  # fmt: skip
    assert len(given) == len(dataclasses.fields(Settings))


BAD = [
    ("BROKER_URL", "redis://127.0.0.1"),
    ("BROKER_URL", "amqp://"),
    ("BROKER_URL", "amqp://h:port//"),
    ("BROKER_URL", "amqp://h//;http://h"),
    ("DATABASE_URL", "postgresql://h/n"),
    ("DATABASE_URL", "mysql://[::1/n"),
    ("METRICS", "9101"),
    ("METRICS", "127.0.0.1:0"),
    ("METRICS", "::1:9101"),
    ("METRICS", "[::1]"),
    ("ADDRESS", "a b"),
    ("PORT", "65536"),
    ("PORT", "-1"),
    ("PORT", "80a"),
    ("PORT", "٣"),
    ("PORT", "9" * 5000),
    ("TIMEOUT", "0"),
    ("TIMEOUT", "nan"),
    ("TIMEOUT", "inf"),
    ("TIMEOUT", "-1"),
    ("TIMEOUT", "soon"),
    ("MAX_IN_FLIGHT", "0"),
    ("MAX_IN_FLIGHT", "1e3"),
    ("CACHE_BYTES", "16M"),
    ("MAX_STREAMS", "0"),
    ("STREAM_TIMEOUT", "0.5"),
    ("QUEUES", "a:1,b"),
    ("QUEUES", "a:1,a:2"),
    ("QUEUES", f"{users.QUEUE}:100"),
    ("RETENTION_FAILED", "3599"),
    ("RETENTION_FAILED", "inf"),
    ("RETENTION_FAILED", "never"),
    ("WEBHOOK_ALLOW", "a,,b"),
    ("WEBHOOK_ALLOW", "https://a"),
    ("WEBHOOK_ALLOW", "a:0"),
    ("WEBHOOK_ALLOW", "a:65536"),
    ("WEBHOOK_ALLOW", "10.0.0.1/8"),
    ("WEBHOOK_ALLOW", "a b"),
    ("KEYS", "/nowhere/keys.json"),
    ("HOSTS", "api.example:80"),
    ("HOSTS", "http://api.example"),
    ("HOSTS", "a,,b"),
    ("HOSTS", "none"),
    ("CORS_ORIGINS", "*"),
    ("CORS_ORIGINS", "app.example"),
    ("CORS_ORIGINS", "https://app.example/"),
    ("CORS_ORIGINS", "https://app.example:443"),
    ("CORS_ORIGINS", "https://App.example"),
    ("CORS_ORIGINS", "https://a.example,"),
    ("TRUSTED_PROXIES", "balancer"),
    ("TRUSTED_PROXIES", "10.0.0.1/8"),
    ("TRUSTED_PROXIES", "10.0.0.1,"),
    ("SHUTDOWN_TIMEOUT", "-0.5"),
    ("DEMO", "yes"),
    ("LOG_LEVEL", "loud"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({PREFIX + name: value})
    text = str(caught.value)
    assert text.startswith(f"NOWAIT_{name}=")
    assert "is not allowed, expected" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "given",
    [{"REQUIRE_KEYS": "1"}, {"PROXY_PROTOCOL": "1"}, {"TLS_CERT": __file__}, {"TLS_KEY": __file__},
     {"DEMO": "1", "KEYS": __file__}, {"PROCESSES": "2", "PORT": "0"}],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_named(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="^NOWAIT_.* is not allowed") as caught:
        Settings.from_environment({PREFIX + name: value for name, value in given.items()})
    assert all(name in str(caught.value) for name in given)


@pytest.mark.parametrize("name", ["DEFINITIONS", "DRAIN", "ALIVE", "SQL"])
def test_a_setting_of_an_earlier_version_is_not_ignored_in_silence(name: str) -> None:
    with pytest.raises(SettingsError, match=f"NOWAIT_{name} is not allowed any more, expected NOWAIT_"):
        Settings.from_environment({PREFIX + name: "1"})


@pytest.mark.parametrize("text", ["127.0.0.1:9101", "[::1]:9101", "metrics.internal:80"])
def test_an_address_of_metrics_is_written_as_it_is_given(text: str) -> None:
    assert str(Settings.from_environment({"NOWAIT_METRICS": text}).metrics) == text


def test_a_password_is_never_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"NOWAIT_BROKER_URL": "amqp://user:secret@host:0//"})
    assert "secret" not in str(caught.value)


def run(*command: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **{PREFIX + name: value for name, value in settings.items()}}
    return subprocess.run([sys.executable, "-m", *command], env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        (["server"], "PORT", "80a"),
        (["server"], "BROKER_URL", "http://127.0.0.1"),
        (["celery", "-A", "tasks", "worker"], "BROKER_URL", "http://127.0.0.1"),
        (["celery", "-A", "tasks", "worker"], "DATABASE_URL", "mysql://127.0.0.1:3306/"),
        (["celery", "-A", "tasks", "worker"], "DATABASE_URL", "mysql://127.0.0.1:3306/name?ssl=1"),
        (["celery", "-A", "tasks", "worker"], "TOPOLOGY", "yes"),
        (["celery", "-A", "tasks", "worker"], "LIVENESS_FILE", "/nowhere/alive"),
    ],
)
def test_a_program_with_a_bad_setting_says_so_in_one_line_and_ends_with_2(
    command: list[str], name: str, value: str
) -> None:
    done = run(*command, **{name: value})
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"NOWAIT_{name}")


def test_help_lists_every_setting() -> None:
    done = run("server", "--help")
    assert done.returncode == 0
    for field in dataclasses.fields(Settings):
        assert PREFIX + field.name.upper() in done.stdout
    assert Settings.describe() in done.stdout


def test_an_address_that_cannot_be_listened_on_is_one_line() -> None:
    done = run("server", ADDRESS="203.0.113.1", PORT="0")
    assert done.returncode == 1
    assert "cannot listen on 203.0.113.1:0" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "value",
    ["secret", "whsec_", SECRET.removeprefix("whsec_"), SECRET[:-4], f"{SECRET},{SECRET},{SECRET}", f"{SECRET},",
     "whsec_" + "A" * 92, "whsec_Mf_Q9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
)  # fmt: skip
def test_secrets_that_are_none_are_not_repeated(value: str) -> None:
    with pytest.raises(SettingsError, match="^NOWAIT_WEBHOOK_SECRETS='…' is not allowed") as caught:
        Settings.from_environment({"NOWAIT_WEBHOOK_SECRETS": value})
    assert value[:20] not in str(caught.value)
