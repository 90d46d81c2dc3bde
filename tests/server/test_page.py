"""The live page and its files over HTTP, and what pages of other sites may ask a demo for."""

import gzip
import re
from pathlib import Path

import pytest
from tornado.httpclient import HTTPResponse

from server.http.origins import Origins
from tests.server.fake_jobs import FakePublisher, FakeStore
from tests.server.jobs_site import COUNT, serving

FOLDER = Path(__file__).resolve().parents[2] / "server" / "page"
FILES = sorted(path.name for path in FOLDER.iterdir())


async def _get(path: str, **headers: str) -> HTTPResponse:
    async with serving(FakeStore(), FakePublisher(), demo=True) as site:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await site.fetch(path, headers=named, decompress_response=False)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in FILES)])
async def test_a_file_is_served_as_it_is_and_packed(path: str) -> None:
    body = (FOLDER / (path[len("/page/") :] or "index.html")).read_bytes()
    plain, packed = await _get(path), await _get(path, Accept_Encoding="gzip, br")
    assert (plain.code, plain.body) == (200, body)
    assert (packed.headers["Content-Encoding"], gzip.decompress(packed.body)) == ("gzip", body)
    for answer in (plain, packed):
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';") and "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["Etag"] != packed.headers["Etag"]


@pytest.mark.gen_test
@pytest.mark.parametrize("header", ["gzip;q=0", "*;q=0", "br", "gzip; q=0.0, br", "identity", "gzip2"])
async def test_who_takes_no_gzip_gets_none(header: str) -> None:
    assert "Content-Encoding" not in (await _get("/", Accept_Encoding=header)).headers


@pytest.mark.gen_test
@pytest.mark.parametrize("header", ["gzip", "br, GZIP;q=0.5", "*", "*;q=0, gzip;q=0.1"])
async def test_who_takes_gzip_gets_it(header: str) -> None:
    assert (await _get("/", Accept_Encoding=header)).headers["Content-Encoding"] == "gzip"


@pytest.mark.gen_test
async def test_a_file_varies_by_the_origin_as_well_where_pages_of_others_may_read_it() -> None:
    async with serving(FakeStore(), FakePublisher(), cors_origins=Origins({"https://app.example"})) as site:
        answer = await site.fetch("/docs")
    assert answer.headers["Vary"] == "Origin, Accept-Encoding"


@pytest.mark.gen_test
async def test_what_a_browser_has_is_not_sent_again() -> None:
    for encoding in ("identity", "gzip"):
        first = await _get("/", Accept_Encoding=encoding)
        again = await _get("/", Accept_Encoding=encoding, If_None_Match=first.headers["Etag"])
        assert (again.code, again.body) == (304, b"")


@pytest.mark.gen_test
async def test_the_page_weighs_less_than_60_kilobytes() -> None:
    weight = 0
    for name in FILES:
        weight += len((await _get(f"/page/{name}", Accept_Encoding="gzip")).body)
    assert weight < 60_000


def test_the_page_names_nothing_elsewhere_and_no_style_of_an_element() -> None:
    for name in FILES:
        text = (FOLDER / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[a-z]+\.[a-z]", text), name
        assert not re.search(r"\sstyle=", text), name


def test_every_file_is_one_that_the_page_asks_for() -> None:
    text = "".join((FOLDER / name).read_text() for name in FILES)
    for name in FILES:
        assert name == "index.html" or re.search(rf'"(/page|\.)/{name}"', text), name


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/page/", "/page/none.js", "/page/..%2fapp.py", "/page/../app.py", "/page/index.js/"])
async def test_nothing_else_is_served(path: str) -> None:
    assert (await _get(path)).code == 404


@pytest.mark.gen_test
async def test_without_the_demo_there_is_no_page() -> None:
    async with serving(FakeStore(), FakePublisher()) as site:
        for path in ("/", "/page/main.js", "/live/events"):
            assert (await site.fetch(path)).code == 404


@pytest.mark.gen_test
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/blocking/mysql_query/1"),
        ("GET", "/mysql_query/1?delay=60"),
        ("GET", "/live/events"),
        ("POST", "/jobs"),
        ("POST", "/jobs/01234567-89ab-7def-8123-456789abcdef/retry"),
        ("DELETE", "/jobs/01234567-89ab-7def-8123-456789abcdef"),
        ("POST", "/topics/news"),
        ("POST", "/queues/parcels/messages"),
        ("GET", "/queues/parcels/consumer"),
    ],
)
async def test_pages_of_other_sites_drive_no_demo(site: str, method: str, path: str) -> None:
    async with serving(FakeStore(), FakePublisher(), demo=True) as served:
        answer = await served.fetch(path, method=method, headers={"Sec-Fetch-Site": site})
        assert answer.code == 403


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://elsewhere.example", 403), ("null", 403), ("http://192.0.2.7:8000", 202), (None, 202)],
)
async def test_where_a_browser_does_not_say_the_site_its_origin_counts(origin: str | None, status: int) -> None:
    # Over plain HTTP, to another host, browsers send no Sec-Fetch-Site.
    headers = {"Host": "192.0.2.7:8000"} if origin is None else {"Host": "192.0.2.7:8000", "Origin": origin}
    async with serving(FakeStore(), FakePublisher(), demo=True) as site:
        assert (await site.post(COUNT, **headers)).code == status


@pytest.mark.gen_test
async def test_links_to_the_page_work_and_so_does_what_it_does_itself() -> None:
    assert (await _get("/", Sec_Fetch_Site="cross-site")).code == 200
    assert (await _get("/page/main.js", Sec_Fetch_Site="same-origin")).code == 200
    async with serving(FakeStore(), FakePublisher(), demo=True) as site:
        assert (await site.post(COUNT, Sec_Fetch_Site="same-origin")).code == 202


@pytest.mark.gen_test
async def test_without_the_demo_they_may_send_what_only_reads() -> None:
    async with serving(FakeStore(), FakePublisher()) as site:
        assert (await site.post(COUNT, Sec_Fetch_Site="cross-site")).code == 403
        assert (await site.fetch("/jobs", headers={"Sec-Fetch-Site": "cross-site"})).code == 200
