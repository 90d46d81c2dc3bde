"""Keys, without a server: their texts, their file, what they are for, and how much."""

import argparse
import io
import json
import logging
import os
import random
import re
import stat
import sys
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nowait.logs import JsonFormatter, TextFormatter
from server.http.proxies import Proxies, site
from server.keys import commands, keyring
from server.keys.client import Client
from server.keys.file import KeyFile, KeyFileError
from server.keys.gate import Gate, NoKey
from server.keys.key import VALID, Key
from server.keys.keyring import BadKey, Keyring
from server.keys.limits import Limits, Rate
from server.keys.pace import Pace
from server.keys.quota import IN_FLIGHT, RATE, STREAMS, SUBSCRIBERS, Quota, QuotaExceeded
from server.keys.scopes import ALL, Scope, Scopes
from server.keys.token import Token, without_secrets
from server.log_filters import Redaction, Sparing
from tests.bridge.conftest import until
from tests.server.key_files import HOUR, Keys, new_key, now, resigned


def test_the_text_of_a_key_is_read_as_it_was_made_and_what_is_mistyped_is_none() -> None:
    token = Token.new()
    assert Token.parse(token.text) == token
    assert token.text not in repr(token)
    for place in range(len(token.text)):
        other = "x" if token.text[place] != "x" else "y"
        assert Token.parse(token.text[:place] + other + token.text[place + 1 :]) is None
    for text in ("", token.text[:-1], f"{token.text}x", f" {token.text}", token.text.replace("_", "-")):
        assert Token.parse(text) is None


def test_of_a_key_in_a_text_the_id_alone_is_left() -> None:
    token = Token.new()
    for text in (token.text, token.text[:-9], f"{token.text}9"):
        assert without_secrets(f"Invalid 'Bearer {text}'") == f"Invalid 'Bearer nwt_{token.id}_...'"
    for quoted in ("%5F", "%5f", "%255F", r"\x5f", r"\u005f", r"\\x5f"):
        text = token.text.replace("_", quoted)
        assert without_secrets(f"GET /{text} HTTP/1.1") == f"GET /nwt_{token.id}_... HTTP/1.1"
    assert without_secrets("nothing") == "nothing"


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_no_part_of_a_line_has_a_key(formatter: logging.Formatter) -> None:
    text = Token.new().text
    try:
        raise ValueError(f"what is {text}?")
    except ValueError:
        raised = sys.exc_info()
    record = logging.LogRecord("name", logging.ERROR, __file__, 1, "message %s", (text,), raised, sinfo=f"stack {text}")
    vars(record)["fields"] = {"field": text}
    line = Redaction(formatter).format(record)
    assert text[13:20] not in line
    assert "what is nwt_" in line and "stack nwt_" in line and line.count(text[4:12]) >= 3
    if isinstance(formatter, JsonFormatter):
        assert json.loads(line)["field"] == f"{text[:13]}..."


def test_a_log_has_so_many_lines_of_a_second_and_how_many_more_there_were() -> None:
    moment = 0.5
    sparing = Sparing(clock=lambda: moment)

    def written() -> logging.LogRecord | None:
        record = logging.LogRecord("name", logging.INFO, __file__, 1, "line %d", (1,), None)
        return record if sparing.filter(record) else None

    assert [written() is not None for _ in range(100)] == [True] * 5 + [False] * 95
    moment = 1.5
    texts = [record.getMessage() for record in (written(), written()) if record]
    assert texts == ["line 1 (95 lines before were left out)", "line 1"]


def test_of_a_header_of_a_megabyte_the_log_has_the_beginning() -> None:
    record = logging.LogRecord("name", logging.INFO, __file__, 1, "Malformed: %r", ("\x01" * 1_000_000,), None)
    assert Sparing().filter(record)
    assert record.getMessage() == ("Malformed: '" + 1000 * r"\x01")[:1000] + "…"


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_what_makes_no_line_is_one_line_without_what_was_to_be_in_it(formatter: logging.Formatter) -> None:
    record = logging.LogRecord("name", logging.INFO, __file__, 1, "%d", (Token.new().text,), None)
    assert Sparing().filter(record)
    line = Redaction(formatter).format(record)
    assert "no line: TypeError" in line and "nwt_" not in line and len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("scope", "allowed", "refused"),
    [
        ("queries", [("queries", "", "a"), ("queries", "", None)], [("jobs", "read", None)]),
        ("queries:a", [("queries", "", "a"), ("queries", "", None)], [("queries", "", "ab")]),
        ("queries:a*", [("queries", "", "a"), ("queries", "", "ab")], [("queries", "", "b")]),
        ("jobs", [("jobs", "read", "a"), ("jobs", "write", "a")], [("schedules", "write", "a")]),
        ("jobs.read", [("jobs", "read", "a")], [("jobs", "write", "a"), ("jobs", "write", None)]),
        ("topics.write:a", [("topics", "write", "a")], [("topics", "read", "a"), ("topics", "write", "b")]),
        ("queues:*", [("queues", "read", "a")], [("queries", "", "a")]),
        ("admin", [("queries", "", "a"), ("jobs", "write", None), ("admin", "", None)], []),
    ],
)
def test_a_scope_is_for_what_it_names(scope: str, allowed: list[Any], refused: list[Any]) -> None:
    scopes = Scopes.parse([scope])
    assert all(scopes.allow(*each) for each in allowed)
    assert not any(scopes.allow(*each) for each in refused)
    assert Scopes.parse(scopes.texts()) == scopes


@pytest.mark.parametrize(
    "text", ["", "all", "jobs.", "jobs.run", "queries.read", "jobs:", "jobs:a b", "jobs:*a", "admin:a", "jobs,queues"]
)
def test_what_is_no_scope_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not allowed"):
        Scope.parse(text)


def test_a_file_has_all_of_a_key_but_its_text_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    token, key = new_key(
        scopes="jobs:mail.* topics.read", limits=Limits(Rate(100, 60), 20, 5, 10), expires=now() + HOUR, owner=""
    )
    with KeyFile(path).editing() as keys:
        keys.append(key)
    assert KeyFile(path).read() == [key]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token.text.rpartition("_")[2] not in path.read_text()
    # Who may read it may still do so when it was edited.
    path.chmod(0o640)
    before = KeyFile(path).stamp()
    with KeyFile(path).editing() as keys:
        keys.clear()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert KeyFile(path).stamp() != before
    assert os.listdir(tmp_path) == ["keys.json"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda document: "{", "it is not JSON"),
        (lambda document: "[" * 100_000, "it is not JSON"),
        (lambda document: "[]", "version 1 is expected"),
        (lambda document: '{"version": 2}', "version 1 is expected"),
        (lambda document: '{"version": 1, "keys": {}}', "a list is expected"),
        (lambda document: json.dumps({**document, "keys": document["keys"] * 2}), "two keys have one id"),
        (lambda document: _with(document, scopes=["secret"]), "is not allowed"),
        (lambda document: _with(document, digest="secret"), "digest"),
        (lambda document: _with(document, limits={"rate": "1"}), "REQUESTS/SECONDS"),
        (lambda document: _with(document, limits={"in_flight": True}), "in_flight"),
        (lambda document: _with(document, expires="tomorrow"), "RFC 3339"),
        (lambda document: _with(document, expires=7), "a key has"),
        (lambda document: _with(document, revokd="2026-11-26T00:00:00Z"), "a key is an object"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], str], reason: str
) -> None:
    _, key = new_key()
    path = tmp_path / "keys.json"
    path.write_text(change({"version": 1, "keys": [key.document()]}))
    with pytest.raises(KeyFileError) as caught:
        KeyFile(path).read()
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and reason in text and "\n" not in text
    assert key.digest.hex() not in text


def _with(document: dict[str, Any], **members: Any) -> str:
    return json.dumps({**document, "keys": [{**document["keys"][0], **members}]})


def test_all_that_may_be_a_key_is_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    equal = keyring.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return equal(one, other)

    monkeypatch.setattr(keyring, "compare_digest", compare)
    good, key = new_key()
    expired, old = new_key(expires=now() - HOUR)
    early, late = new_key(not_before=now() + HOUR)
    revoked, ended = new_key(revoked=now())
    keys = Keyring([key, old, late, ended])
    assert keys.find(good.text, now()) is key
    wrong = resigned(good.text, Token.new().text)
    reasons = [(wrong, "wrong"), (Token.new().text, "unknown"), (expired.text, "expired"),
               (early.text, "not valid yet"), (revoked.text, "revoked")]  # fmt: skip
    for text, reason in reasons:
        with pytest.raises(BadKey) as caught:
            keys.find(text, now())
        assert caught.value.reason == reason
    assert compared == [(32, 32)] * 6
    # That is no key is known to everybody.
    with pytest.raises(BadKey):
        keys.find(good.text[:-1], now())
    assert len(compared) == 6


def test_a_key_is_valid_from_one_moment_to_another() -> None:
    moment = now()
    _, key = new_key(not_before=moment, expires=moment + HOUR)
    assert key.state(moment) == VALID
    assert key.state(moment - timedelta(microseconds=1)) == "not valid yet"
    assert key.state(moment + HOUR) == "expired"


def test_a_rate_is_kept_and_what_is_left_is_shown() -> None:
    quota = Quota(Limits(rate=Rate(3, 60)))
    assert quota.fields(0) == {"RateLimit-Policy": '"default";q=3;w=60', "RateLimit": '"default";r=3'}
    for left in (2, 1, 0):
        quota.enter(0)
        assert quota.fields(0)["RateLimit"] == f'"default";r={left};t=20'
    with pytest.raises(QuotaExceeded) as caught:
        quota.enter(5)
    assert (caught.value.policy, caught.value.retry_after) == ("default", 15)
    # Not earlier than t of RateLimit.
    assert quota.fields(5)["RateLimit"] == '"default";r=0;t=15'
    quota.enter(20)


def test_over_any_time_requests_get_in_at_the_rate_and_a_full_quota_at_once_besides() -> None:
    numbers = random.Random(1)
    quota, moment, entered = Quota(Limits(rate=Rate(10, 7))), 0.0, []
    for _ in range(2000):
        moment += numbers.expovariate(5)
        left = int(quota.fields(moment)["RateLimit"].split("r=")[1].split(";")[0])
        try:
            quota.enter(moment)
        except QuotaExceeded as error:
            assert left == 0 and 0 < error.retry_after <= 0.7 + 1e-9
        else:
            assert left >= 1
            entered.append(moment)
    for at in entered:
        for seconds in (0.7, 7, 70):
            most = 10 + seconds * 10 / 7
            assert sum(at <= other < at + seconds for other in entered) <= most
    assert len(entered) == pytest.approx(moment * 10 / 7, rel=0.02)


def test_a_rate_that_changes_locks_nobody_out() -> None:
    quota = Quota(Limits(rate=Rate(5, 86400)))
    for _ in range(5):
        quota.enter(0)
    with pytest.raises(QuotaExceeded):
        quota.enter(0)
    quota.limits = Limits(rate=Rate(6000, 60))
    assert quota.fields(0)["RateLimit"] == '"default";r=5995;t=1'
    for _ in range(2995):
        quota.enter(0)
    quota.limits = Limits(rate=Rate(60, 10))
    with pytest.raises(QuotaExceeded) as caught:
        quota.enter(0)
    assert caught.value.retry_after == pytest.approx(10 / 60)
    quota.limits = Limits(rate=Rate(3600, 3600))
    assert quota.fields(0)["RateLimit"] == '"default";r=600;t=1'


def test_the_limits_of_a_client_are_those_of_its_newest_key_that_is_valid() -> None:
    old, first = new_key("shop", limits=Limits(rate=Rate(600, 60)))
    new, second = new_key("shop", limits=Limits(rate=Rate(10, 60)))
    early = replace(second, id="earlykey", not_before=now() + HOUR)
    gate = Gate(Keyring([second, early, replace(first, created=first.created - HOUR)]))

    def enter(token: Token, moment: float) -> None:
        gate.client([f"Bearer {token.text}"]).quota.enter(moment)

    for number in range(10):
        enter((old, new)[number % 2], 0)
    for token in (old, new):
        with pytest.raises(QuotaExceeded):
            enter(token, 0)
    gate.replace(Keyring([first, replace(second, revoked=now())]))
    for _ in range(590):
        enter(old, 0)
    with pytest.raises(QuotaExceeded):
        enter(old, 0)


def test_what_is_in_flight_is_bounded_and_a_refusal_uses_up_nothing() -> None:
    quota = Quota(Limits(rate=Rate(2, 60), in_flight=1, subscribers=1))
    quota.enter(0)
    assert quota.fields(0)["RateLimit"] == '"default";r=1;t=30, "in-flight";r=0, "subscribers";r=1'
    named = '"default";q=2;w=60, "in-flight";q=1;qu="concurrent-requests", "subscribers";q=1;qu="concurrent-requests"'
    assert quota.fields(0)["RateLimit-Policy"] == named
    with pytest.raises(QuotaExceeded, match="in-flight"):
        quota.enter(0)
    quota.release(IN_FLIGHT)
    quota.take(SUBSCRIBERS)
    with pytest.raises(QuotaExceeded, match="subscribers") as caught:
        quota.take(SUBSCRIBERS)
    assert caught.value.limit == "1 subscribers at once"
    assert quota.fields(0)["RateLimit"] == '"default";r=1;t=30, "in-flight";r=1, "subscribers";r=0'
    quota.enter(0)
    assert not quota.idle


def test_each_limit_that_a_refusal_may_name_is_announced() -> None:
    quota = Quota(Limits(Rate(1, 1), 1, 1, 1))
    announced = re.findall('"([a-z-]+)";q=1;', quota.fields(0)["RateLimit-Policy"])
    assert announced == [RATE, IN_FLIGHT, STREAMS, SUBSCRIBERS]


def test_several_processes_share_the_limits_of_a_key() -> None:
    limits = Limits(Rate(100, 60), 10, 1, None)
    assert limits.share(1) == limits
    assert limits.share(4) == Limits(Rate(25, 60), 3, 1, None)
    assert Limits(Rate(2, 1)).share(4) == Limits(Rate(1, 1))


def test_refusals_come_at_once_and_then_slowly_to_who_gets_them() -> None:
    pace = Pace(chance=lambda: 0.0)
    assert [pace.delay("a", 0) for _ in range(10)] == [0.0] * 10
    assert [pace.delay("a", 0) for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])
    assert pace.delay("b", 0) == 0
    assert max(pace.delay("a", 0) for _ in range(1000)) == 2.0
    # The wait does not add up.
    assert pace.delay("a", 3.0) == 0


def test_refusals_of_what_came_at_once_are_not_due_at_once() -> None:
    chances = iter([0.0] * 30 + [0.25, 0.5, 1.0])
    pace = Pace(chance=lambda: next(chances))
    assert [pace.delay("a", 0) for _ in range(43)][-4:] == pytest.approx([2.0, 1.88, 1.76, 1.5])


def test_refusals_are_due_at_moments_that_several_share() -> None:
    pace, now = Pace(), 1000.0
    moments = set()
    for _ in range(1000):
        now += 0.0013
        if delay := pace.delay("a", now):
            moments.add(now + delay)
    assert 50 < len(moments) < 180
    assert all(round(moment / 0.02) == pytest.approx(moment / 0.02, abs=1e-6) for moment in moments)


def test_who_was_refused_longest_ago_is_forgotten_first() -> None:
    pace = Pace(remembered=2)
    for _ in range(20):
        pace.delay("a", 0)
        pace.delay("b", 0)
    pace.delay("c", 0)
    assert len(pace) == 2
    assert pace.delay("b", 0) > 0 and pace.delay("a", 0) == 0


def test_a_gate_knows_clients_and_keeps_what_they_use_when_keys_change() -> None:
    token, key = new_key("one", "jobs", limits=Limits(in_flight=2))
    gate = Gate(Keyring([key]))

    def find(*headers: str) -> Client:
        return gate.client(headers)

    client = find(f"bearer  {token.text} ")
    assert (client.name, client.key_id, client.owner, client.sees) == ("one", key.id, "one", "one")
    with pytest.raises(NoKey):
        find()
    for headers in (("Basic eDp5",), (token.text,), (f"Bearer {token.text}",) * 2, ("Bearer",)):
        with pytest.raises(BadKey):
            find(*headers)
    client.quota.enter(0)
    another, new = new_key("one", "admin", owner="team", limits=Limits(in_flight=1))
    gate.replace(Keyring([key, new]))
    both = find(f"Bearer {another.text}")
    assert both.quota is client.quota and (both.owner, both.sees) == ("team", None)
    with pytest.raises(QuotaExceeded):
        both.quota.enter(0)


@pytest.mark.gen_test
async def test_who_follows_does_so_for_as_long_as_the_key_is_valid() -> None:
    moment, ended = now(), []
    values = {"expires": moment + HOUR}
    names = ("hour", "gone", "other", "given")
    keys = {name: new_key(name, "topics", **(values if name == "hour" else {})) for name in names}
    gate = Gate(Keyring(key for _, key in keys.values()), clock=lambda: moment)

    def enter(name: str) -> None:
        client = gate.client([f"Bearer {keys[name][0].text}"])
        stack.enter_context(gate.followers.following(client, lambda: ended.append(name)))

    with ExitStack() as stack:
        for name in keys:
            enter(name)
        assert not ended
        # Another one of that name, other scopes, and another owner.
        gate.replace(Keyring([keys["hour"][1], new_key("gone")[1], keys["other"][1], keys["given"][1]]))
        assert ended == ["gone"]
        gate.replace(Keyring([keys["hour"][1], replace(keys["other"][1], scopes=ALL), keys["given"][1]]))
        assert ended == ["gone", "other"]
        gate.replace(Keyring([keys["hour"][1], replace(keys["given"][1], owner="somebody else")]))
        assert ended == ["gone", "other", "given"]
        moment += HOUR - timedelta(seconds=0.01)
        enter("hour")
        moment += HOUR
        await until(lambda: len(ended) == 5)
        assert ended[3:] == ["hour", "hour"] and not gate.followers


def test_one_who_cannot_be_ended_keeps_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    token, key = new_key("one", "topics")
    gate, ended = Gate(Keyring([key])), []
    client = gate.client([f"Bearer {token.text}"])

    def fail() -> None:
        raise OSError

    follow = gate.followers.following
    with follow(client, fail), follow(client, lambda: ended.append("second")):
        gate.replace(Keyring([]))
    assert ended == ["second"] and "a follower could not be ended" in caplog.text


def test_without_keys_anybody_may_do_everything_to_what_was_made_without() -> None:
    client = Gate(None).client([])
    assert client.scopes.allow("jobs", "write", "a") and client.sees == ""


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        # Who is no balancer may write what it likes.
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.5", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.5", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.5", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.5", ["1.1.1.1", "198.51.100.1, 10.1.2.3"], "198.51.100.1"),
        ("10.0.0.5", ["unknown"], "10.0.0.5"),
        ("10.0.0.5", ["1.1.1.1, 10.1.2.3," * 10_000], "1.1.1.1"),
        ("10.0.0.5", [" , " * 10_000], "10.0.0.5"),
        ("10.0.0.5", ["1.1.1.1, 198.51.100.1, ,"], "198.51.100.1"),
        ("10.0.0.5", ["1.1.1.1, 198.51.100.1:5555"], "198.51.100.1"),
        ("10.0.0.5", ["1.1.1.1, [2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.5", ["1.1.1.1, [2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.5", ["1.1.1.1, 2001:db8::1:443"], "2001:db8::1:443"),
        ("10.0.0.5", ["1.1.1.1, 198.51.100.1:x"], "10.0.0.5"),
        ("10.0.0.5", ["1.1.1.1, [198.51.100.1"], "10.0.0.5"),
        ("10.0.0.5", ["1.1.1.1, []"], "10.0.0.5"),
        ("10.0.0.5", [], "10.0.0.5"),
        ("", ["1.1.1.1"], ""),
    ],
)
def test_the_client_is_whom_the_last_balancer_has_got_the_request_from(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert Proxies.parse("10.0.0.5, 10.1.0.0/16").client(peer, forwarded) == client


def test_a_balancer_may_be_written_as_a_socket_of_ipv6_has_it() -> None:
    for balancers in ("::ffff:10.0.0.5", "::ffff:10.0.0.0/120"):
        assert Proxies.parse(balancers).trust("10.0.0.5") and Proxies.parse(balancers).trust("::ffff:10.0.0.5")
        assert not Proxies.parse(balancers).trust("10.0.1.5")
    assert not Proxies.parse("::/64").trust("10.0.0.5")


def test_of_ipv6_a_client_has_more_than_one_address() -> None:
    assert site("2001:db8::1") == site("2001:db8::ffff") != site("2001:db8:1::1")
    assert site("::ffff:10.0.0.5") == site("10.0.0.5") != site("10.0.0.6")


def run(path: Path, *arguments: str, status: int = 0) -> str:
    """What `python -m server keys` prints: the tests of docs run it as a process."""
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            found = command(path, *arguments)
        except SystemExit as error:  # of argparse
            found = error.code
    assert found == status, errors.getvalue()
    return output.getvalue() if status == 0 else errors.getvalue()


def command(path: Path, *arguments: str) -> Any:
    """The exit status of `python -m server keys`, in this process."""
    parser = argparse.ArgumentParser()
    commands.add_to(parser.add_subparsers())
    options = parser.parse_args(["keys", "--file", str(path), *arguments])
    return options.run(options)


def find(path: Path, text: str) -> Key:
    return Keyring(KeyFile(path).read()).find(text.strip(), now())


def test_keys_are_made_listed_rotated_and_revoked(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    options = "--scope queries:a* --scope jobs --rate 100/60 --in-flight 20 --expires 90d".split()
    first = run(path, "make", "shop", *options)
    key = find(path, first)
    assert (key.name, key.owner, key.limits) == ("shop", "shop", Limits(Rate(100, 60), 20))
    second = run(path, "rotate", "shop", "--overlap", "1h")
    assert find(path, first).expires is not None
    assert find(path, second).scopes == key.scopes and find(path, second).limits == key.limits
    (old, new) = json.loads(run(path, "list", "--json"))
    assert old["state"] == new["state"] == VALID and "digest" not in old
    assert run(path, "list").splitlines()[0].startswith(f"{key.id} shop valid until ")
    run(path, "revoke", key.id)
    with pytest.raises(BadKey, match="revoked"):
        find(path, first)
    find(path, second)
    assert "there is a key of that name" in run(path, "make", "shop", "--scope", "jobs", status=1)
    assert "no key of that name" in run(path, "rotate", "other", status=1)
    assert "no key of that id or name" in run(path, "revoke", "other", status=1)
    assert "expected queries" in run(path, "make", "other", "--scope", "job", status=2)


@pytest.mark.parametrize("verb", ["make", "rotate"])
@pytest.mark.parametrize("ended", ["revoked", "expired"])
def test_a_name_whose_keys_have_ended_gets_another(
    verb: str, ended: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = Keys(tmp_path / "keys.json")
    before = keys.add("shop", "jobs", **{"revoked" if ended == "revoked" else "expires": now() - HOUR})
    assert command(keys.path, verb, "shop", *(["--scope", "queries"] if verb == "make" else [])) == 0
    key = find(keys.path, capsys.readouterr().out)
    scope = "queries" if verb == "make" else "jobs"
    assert (key.name, key.scopes.texts(), key.state(now())) == ("shop", [scope], VALID)
    with pytest.raises(BadKey, match=ended):
        find(keys.path, before["Authorization"].removeprefix("Bearer "))
    # Now it has one.
    assert command(keys.path, "make", "shop", "--scope", "queries") == 1


def test_another_key_may_have_other_scopes_and_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = Keys(tmp_path / "keys.json")
    keys.add("shop", "jobs", limits=Limits(Rate(1, 60), 2, 3, None))
    options = ["--scope", "queries:a", "--scope", "topics", "--in-flight", "none", "--subscribers", "5"]
    assert command(keys.path, "rotate", "shop", *options) == 0
    key = find(keys.path, capsys.readouterr().out)
    assert (key.scopes.texts(), key.limits) == (["queries:a", "topics"], Limits(Rate(1, 60), None, 3, 5))


def test_keys_that_have_ended_are_removed_and_no_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = Keys(tmp_path / "keys.json")
    keys.add("shop", revoked=now())
    keys.add("shop", expires=now() - HOUR)
    keys.add("shop")
    keys.add("other", revoked=now())
    assert command(keys.path, "remove", "shop") == 0
    assert [(key.name, key.state(now())) for key in KeyFile(keys.path).read()] == [
        ("shop", VALID), ("other", "revoked"),
    ]  # fmt: skip
    assert command(keys.path, "remove", "shop") == command(keys.path, "remove", "nobody") == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors == ["shop: its key is valid: revoke ends it", "nobody: there is no key of that id or name"]
