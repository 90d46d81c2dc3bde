"""The page of the OpenAPI document, and its files, over HTTP."""

import gzip
import re
from pathlib import Path

import pytest
from tornado.httpclient import HTTPResponse

from tests.server.fake_jobs import FakePublisher, FakeStore
from tests.server.jobs_site import serving

SERVER = Path(__file__).resolve().parents[2] / "server"
FILES = {path.name: path for path in (SERVER / "docs").iterdir()}
FILES |= {name: SERVER / "page" / name for name in ("dom.js", "curl.js", "format.js", "style.css", "icon.svg")}


async def _get(path: str, demo: bool = False, **headers: str) -> HTTPResponse:
    async with serving(FakeStore(), FakePublisher(), demo=demo) as site:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await site.fetch(path, headers=named, decompress_response=False)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/docs", *(f"/docs/{name}" for name in FILES)])
async def test_a_file_is_served_with_a_policy_that_allows_the_servers_own_alone(path: str) -> None:
    answer = await _get(path)
    assert (answer.code, answer.body) == (200, FILES[path[len("/docs/") :] or "docs.html"].read_bytes())
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';") and "unsafe" not in policy


@pytest.mark.parametrize("name", FILES)
def test_a_file_names_nothing_elsewhere_and_no_style_of_an_element(name: str) -> None:
    text = FILES[name].read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|//[a-z]+\.[a-z]|\sstyle=", text)


def test_every_file_is_one_that_the_page_asks_for() -> None:
    text = "".join(path.read_text() for path in FILES.values())
    assert [name for name in FILES if name != "docs.html" and not re.search(rf'"(/docs|\.)/{name}"', text)] == []


@pytest.mark.gen_test
async def test_the_document_is_sent_packed_and_not_sent_again() -> None:
    plain, packed = await _get("/openapi.json"), await _get("/openapi.json", Accept_Encoding="gzip")
    assert gzip.decompress(packed.body) == plain.body
    known = await _get("/openapi.json", If_None_Match=plain.headers["Etag"])
    assert (known.code, known.body) == (304, b"")


@pytest.mark.gen_test
async def test_the_page_may_be_linked_to_from_other_sites() -> None:
    assert (await _get("/docs", demo=True, Sec_Fetch_Site="cross-site")).code == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/docs/", "/docs/none.js", "/docs/chart.js", "/docs/..%2fapp.py"])
async def test_nothing_else_is_served(path: str) -> None:
    assert (await _get(path)).code == 404
