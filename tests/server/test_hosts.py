"""The names by which a server is asked: not by that of a page that resolves to its address."""

from pathlib import Path
from typing import Any

import pytest

from server.http.hosts import ANY, Hosts
from server.settings import Settings
from tests.server.fake_jobs import FakePublisher, FakeStore
from tests.server.jobs_site import COUNT, problem, serving

EVIL = "evil.example:8000"


@pytest.mark.parametrize(
    ("host", "accepted"),
    [
        (None, True),
        ("", True),
        ("localhost", True),
        ("LocalHost:8000", True),
        ("127.0.0.1:8000", True),
        ("192.0.2.7", True),
        ("[::1]:8000", True),
        ("server:80", True),
        ("api.example", True),
        ("API.example:81", True),
        (EVIL, False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.localhost", False),
        ("localhost.", False),
        ("[::1].evil.example", False),
        ("a:b:c", False),
        ("127.0.0.1:8000@evil.example", False),
    ],
)
def test_a_name_is_the_servers_or_nobodys(host: str | None, accepted: bool) -> None:
    assert Hosts.parse("api.example, b.example").accept(host) == accepted
    assert ANY.accept(host)


@pytest.mark.parametrize(
    ("settings", "hosts"),
    [
        ({}, Hosts()),
        ({"address": "localhost"}, Hosts()),
        ({"address": "::1"}, Hosts()),
        ({"address": "::ffff:127.0.0.1"}, Hosts()),
        ({"address": "0.0.0.0"}, ANY),
        ({"address": "server.example"}, ANY),
        ({"keys": Path("keys.json")}, ANY),
        ({"tls_cert": Path("c"), "tls_key": Path("k")}, ANY),
        ({"address": "0.0.0.0", "hosts": Hosts()}, Hosts()),
        ({"hosts": ANY}, ANY),
        ({"hosts": Hosts({"api.example"})}, {"api.example"}),
    ],
)
def test_any_name_will_do_where_others_reach_the_server_or_need_a_key(settings: dict[str, Any], hosts: Hosts) -> None:
    assert Settings(**settings).accepted_hosts == hosts


@pytest.mark.gen_test
@pytest.mark.parametrize("demo", [True, False])
async def test_a_page_whose_name_is_the_servers_by_now_gets_nothing(demo: bool) -> None:
    async with serving(FakeStore(), FakePublisher(), demo=demo) as site:
        for path in ("/jobs", "/openapi.json", "/docs"):
            answer = await site.fetch(path, headers={"Host": EVIL})
            assert "NOWAIT_HOSTS" in problem(answer, 421)["detail"]
        problem(await site.post(COUNT, Host=EVIL, Origin=f"http://{EVIL}"), 421)
        assert (await site.post(COUNT, Host="localhost:1", Origin="http://localhost:1")).code == 202
    async with serving(FakeStore(), FakePublisher(), demo=demo, hosts=Hosts({"evil.example"})) as site:
        assert (await site.post(COUNT, Host=EVIL, Origin=f"http://{EVIL}")).code == 202
