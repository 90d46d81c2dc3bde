"""What clients get wrong about topics and queues: each has its status, and the bridge does not feel it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from tests.bridge.conftest import running
from tests.server.topics_site import MESSAGES, TopicsSite, closed, consuming, message, put, topics_site

TOPIC, EVENTS = "/topics/news", "/topics/news/events"
CONSUMER = "/queues/parcels/consumer"

NAMES = ("other", "News", "no.dots", "a" * 65, "%6eews", "n%C3%A9ws", "news%2F", "news%00", "%", "..", "néws", "n;a")
BODIES: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "blank": (b" \r\n", 400),
    "no JSON": (b"{", 400),
    "two values": (b"1 2", 400),
    "NaN": (b'{"a":NaN}', 400),
    "Infinity": (b"-Infinity", 400),
    "too many digits": (b"1" * 5000, 400),
    "a zero byte": (b"[1]\0", 400),
    "UTF-16": ("[1]".encode("utf-16"), 400),
    "not UTF-8": (b'"\xff"', 400),
    "half a pair": (b'"\xed\xa0\x80"', 400),
    "deep": (b"[" * 60_000, 400),
    "not too deep": (b"[" * 500 + b"]" * 500, 202),
    "64 KiB": (b'"' + b"x" * 65534 + b'"', 202),
    "more": (b'"' + b"x" * 65535 + b'"', 413),
    "an escape of half a pair": (rb'"\ud800"', 202),
}
KINDS = {"text/plain": 415, "application/x-www-form-urlencoded": 415, "": 415, "Application/JSON; charset=utf-8": 202}
LAST_IDS = {"-1": 400, "": 400, "1" * 19: 400, "first": 400, "1.5": 400, "²": 400, "0x1": 400, "1,2": 400}
QUERIES = {
    "/events": 400, "/events?topics=,": 400, "/events?topics=news,other": 404, "/events?topics=ne%00ws": 404,
    "/topics/other/events": 404, "/queues/other/consumer": 404, CONSUMER: 426,
    **{f"{CONSUMER}?{option}": 400 for option in (
        "prefetch=0", "prefetch=101", "prefetch=-1", "prefetch=1e1", "prefetch=", "lease=-1", "lease=1501", "lease=nan",
        f"lease={'1' * 5000}",
    )},
}  # fmt: skip
# None is answered otherwise than without it: what is no wait is ignored, and a long one is cut.
WAITS = ("wait=-1", "wait=nan", "wait=1e9", "wait=", "wait=99999999999", "wait=0", "wait=5x", ";,=", "wait=999999999")
COMMANDS: tuple[str | bytes, ...] = (
    "", "[]", "{}", "1", "null", "ack", '{"ack":', '{"ack":99}', '{"ack":-1}', '{"ack":0}', '{"ack":true}',
    '{"ack":1.0}', '{"ack":"1"}', '{"ack":null}', '{"ack":[1]}', '{"ack":NaN}', '{"ack":1,"hand_back":1}', '{"take":1}',
    '{"hand_back":99}', "[" * 4000, b"", b"\xff\xfe", bytes(100),
)  # fmt: skip


@asynccontextmanager
async def unharmed(vhost: str, **settings: Any) -> AsyncIterator[TopicsSite]:
    """A server whose bridge has the connections that it began with, still, and takes messages."""
    async with running(vhost) as bridge, topics_site(bridge, **settings) as site:
        yield site
        figures = bridge.statistics()
        assert (figures.state, figures.connects, figures.in_flight, figures.malformed) == ("connected", 1, 0, 0)
        assert [(await site.fetch(path, "good")).code for path in (TOPIC, MESSAGES)] == [202] * 2


async def statuses(site: TopicsSite, path: str, body: Any = None, **headers: str) -> int:
    """The status of a request, after a look at the form of its answer."""
    answer = await site.fetch(path, body, headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert answer.code == 202 or answer.headers["Content-Type"] == "application/problem+json", path
    return int(answer.code)


@pytest.mark.gen_test
async def test_each_wrong_request_has_its_status(vhost: str) -> None:
    async with unharmed(vhost) as site:
        for pattern in ("/topics/{}", "/queues/{}/messages"):
            assert {name: await statuses(site, pattern.format(name), 1) for name in NAMES} == dict.fromkeys(NAMES, 404)
        for path in (TOPIC, MESSAGES):
            found = {name: await statuses(site, path, body) for name, (body, _) in BODIES.items()}
            assert found == {name: status for name, (_, status) in BODIES.items()}
            assert {kind: await statuses(site, path, 1, Content_Type=kind) for kind in KINDS} == KINDS
        assert {path: await statuses(site, path) for path in QUERIES} == QUERIES
        for path in (EVENTS, "/events?topics=news"):
            assert {each: await statuses(site, path, Last_Event_ID=each) for each in LAST_IDS} == LAST_IDS


@pytest.mark.gen_test
async def test_a_wait_that_is_none_or_too_long_keeps_nobody(vhost: str) -> None:
    async with unharmed(vhost, timeout=0.3, queues={"parcels": 5}) as site:
        assert await put(site, *range(5)) == [202] * 5
        assert {wait: await statuses(site, MESSAGES, 1, Prefer=wait) for wait in WAITS} == dict.fromkeys(WAITS, 503)
        async with consuming(site, "?prefetch=5") as socket:
            for _ in range(5):
                await socket.write_message(json.dumps({"ack": (await message(socket))["tag"]}))
            await socket.write_message("{}")
            await closed(socket)


@pytest.mark.gen_test
async def test_what_is_no_command_ends_its_consumer_and_the_message_goes_to_another(vhost: str) -> None:
    async with unharmed(vhost) as site:
        await put(site, "held")
        expected = {**dict.fromkeys(COMMANDS, 4400), "x" * 5000: 1009}
        found = {}
        for command in expected:
            async with consuming(site) as socket:
                assert (await message(socket))["data"] == "held"
                await socket.write_message(command, binary=isinstance(command, bytes))
                found[command] = await closed(socket)
        assert found == expected
        # Twice: it is held no more.
        async with consuming(site) as socket:
            ack = json.dumps({"ack": (await message(socket))["tag"]})
            await socket.write_message(ack)
            await socket.write_message(ack)
            assert await closed(socket) == 4400


@pytest.mark.gen_test
async def test_a_page_of_another_origin_and_what_is_no_websocket_take_nothing_out_of_the_queue(vhost: str) -> None:
    async with unharmed(vhost) as site:
        await put(site, "untouched")
        url = f"ws://127.0.0.1:{site.port}{CONSUMER}"
        for name, value in (
            ("Origin", "http://elsewhere.example"),
            ("Origin", f"http://127.0.0.1:{site.port}.example"),
            ("Origin", "null"),
            ("Origin", "http://["),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
        ):
            with pytest.raises(HTTPClientError) as refused:
                await websocket_connect(HTTPRequest(url, headers={name: value}))
            assert refused.value.code == 403, (name, value)
        own = HTTPRequest(url, headers={"Origin": f"http://127.0.0.1:{site.port}"})
        socket = await websocket_connect(own)
        assert (await message(socket))["redelivered"] is False
        socket.close()
